# Estimates from each country's own rows, and further meta-analyses -> estimates.csv, estimates_answers.json.
# Run once: Rscript estimates.R
library(survival); library(metafor)
json <- function(x) {
  if (is.list(x)) return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ",\n"), "}"))
  paste(ifelse(is.na(x), "null", formatC(x, digits = 17, format = "g", width = 1)), collapse = ", ")
}
set.seed(20)
sizes <- c(AA = 160, BB = 90, CC = 60, DD = 40, EE = 24, FF = 3)
country <- rep(names(sizes), sizes); n <- length(country)
arm <- sample(c("control", "low dose", "high dose"), n, TRUE)
sex <- sample(c("f", "m"), n, TRUE)
age <- round(rnorm(n, 60, 10), 1)
shift <- 1e9 + round(rnorm(n), 3)                       # far from zero
line <- 0.05 * (age - 60) + 0.4 * (arm == "low dose") + 0.8 * (arm == "high dose") - 0.3 * (sex == "m")
sick <- rbinom(n, 1, plogis(line - 0.2))
falls <- rpois(n, exp(0.3 + line / 2))
days <- round(rgamma(n, 2, 2 / exp(1 + line / 2)), 4) + 0.0001
score <- round(5 + 2 * line + rnorm(n), 4)
kept <- sample(c(1, 1.5, 2), n, TRUE)                   # time under observation
zone <- sample(c("north", "south", "west"), n, TRUE)    # a factor with a level nobody has
sex[country == "CC"] <- "m"                             # one level: a constant column
arm[country == "DD"] <- ifelse(arm[country == "DD"] == "low dose", "control", arm[country == "DD"])  # a level absent
sick[country == "EE" & arm == "high dose"] <- 1         # separated in EE
sick[country == "BB" & sex == "m"] <- 0                 # a covariate is separated in BB
falls[country == "EE" & arm == "low dose"] <- 0         # no event at a level
age[sample(n, 12)] <- NA
twice <- 2 * age + 3                                    # collinear with age
d <- data.frame(country, `the arm` = arm, sex, `base.line age` = age, twice, shift, sick, falls, days, score, kept, zone,
                check.names = FALSE)
write.csv(d, "estimates.csv", row.names = FALSE, quote = FALSE, na = "")
d[["the arm"]] <- factor(d[["the arm"]], c("control", "low dose", "high dose"))
d$sex <- factor(d$sex, c("f", "m")); d$zone <- factor(d$zone, c("north", "east", "south", "west"))
tight <- glm.control(epsilon = 1e-15, maxit = 200)
each <- function(fit, name) lapply(split(d, factor(d$country, names(sizes))), function(own) {
  for (v in c("sex", "the arm", "zone")) own[[v]] <- droplevels(own[[v]])
  f <- tryCatch(suppressWarnings(fit(own)), error = function(e) NULL)
  if (is.null(f) || !(name %in% names(coef(f))) || is.na(coef(f)[name])) return(list(yi = NA, vi = NA))
  list(yi = unname(coef(f)[name]), vi = vcov(f)[name, name])
})
answers <- list(
  logistic = each(function(x) glm(sick ~ `the arm` + `base.line age`, binomial, x, control = tight), "`the arm`high dose"),
  covariate_runs_away = each(function(x) glm(sick ~ `the arm` + sex, binomial, x, control = tight), "`the arm`low dose"),
  poisson = each(function(x) glm(falls ~ `the arm` + `base.line age` + offset(log(kept)), poisson, x, control = tight), "`the arm`low dose"),
  quasipoisson = each(function(x) glm(falls ~ `base.line age` + zone, quasipoisson, x, control = tight), "`base.line age`"),
  gamma = each(function(x) glm(days ~ `the arm` * `base.line age`, Gamma("log"), x, control = tight), "`the arm`high dose:`base.line age`"),
  linear = each(function(x) lm(score ~ `the arm` + `base.line age` + twice, x), "`the arm`high dose"),
  linear_age = each(function(x) lm(score ~ `base.line age` + zone, x), "zonewest"),
  intercept = each(function(x) lm(score ~ `base.line age`, x), "(Intercept)"))
# far from zero: fitted about 1e9, where R keeps its figures
answers$shifted <- each(function(x) lm(score ~ I(shift - 1e9) + `base.line age`, x), "I(shift - 1e+09)")
whole <- function(y, v) {
  own <- function(m, test = "z") {
    f <- suppressWarnings(rma(y, v, method = m, test = test, control = list(threshold = 1e-15, maxiter = 100000)))
    list(tau2 = f$tau2, estimate = c(f$beta), se = f$se, p = f$pval, se_tau2 = f$se.tau2, I2_percent = f$I2, H2 = f$H2, loglik = c(logLik(f)))
  }
  list(DL = own("DL"), REML = own("REML"), ML = own("ML"), PM = own("PM"), REML_knapp_hartung = own("REML", "knha"))
}
sets <- list(
  two = list(y = c(0.1, 0.9), v = c(0.04, 0.09)),
  wide = list(y = c(-3, 1, 4, 0.5, 2, -1), v = c(0.01, 0.5, 0.02, 3, 0.1, 0.7)),
  barely = list(y = c(0.1, 0.35, -0.2, 0.22, 0.05, 0.61), v = c(0.02, 0.03, 0.05, 0.01, 0.04, 0.02)),
  unequal = list(y = c(1e-3, 2e-3, -1e-3, 5), v = c(1e-6, 1e-6, 2e-6, 40)))
answers$combined <- lapply(sets, function(s) whole(s$y, s$v))
write(json(answers), "estimates_answers.json")
