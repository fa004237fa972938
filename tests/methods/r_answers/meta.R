# One coefficient from each country's own rows -> meta_answers.json. Run once: Rscript meta.R
library(survival)
json <- function(x) {
  if (is.list(x)) return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ",\n"), "}"))
  ifelse(is.na(x), "null", formatC(x, digits = 17, format = "g", width = 1))
}
tight <- suppressWarnings(coxph.control(eps = 1e-14, iter.max = 60))
arm <- c("control", "low", "high")
by_country <- function(d, formula, coefficient) lapply(split(d, d$country), function(own) {
  f <- tryCatch(coxph(formula, droplevels(own), control = tight), warning = function(w) NULL, error = function(e) NULL)
  if (is.null(f)) return(list(yi = NA, vi = NA))
  list(yi = unname(coef(f)[coefficient]), vi = f$var[match(coefficient, names(coef(f))), match(coefficient, names(coef(f)))])
})
read <- function(name) { d <- read.csv(paste0("cox_", name, ".csv")); d$arm <- factor(d$arm, arm); d }
answers <- list(
  ties = by_country(read("ties"), Surv(time, event) ~ arm + age + strata(sex), "armhigh"),
  entry = by_country(read("entry"), Surv(start, time, event) ~ arm + age + dose, "armlow"))
write(json(answers), "meta_answers.json")
