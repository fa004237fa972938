# Makes expected.json from the rows of ../p11_km_lung. Run in this folder: Rscript analysis.R
# Base R only; numbers with 17 significant digits.
countries <- c("DK", "NO", "FI", "IS", "SE")
numeric <- c("age", "ph.karno", "pat.karno", "wt.loss")
levels_of <- list(sex = c("male", "female"), ph.ecog = c("0", "1", "2", "3"), country = countries)

d <- do.call(rbind, lapply(countries, function(cc)
  read.csv(file.path("..", "p11_km_lung", "data", paste0(cc, ".csv")), na.strings = "")))
for (v in names(levels_of)) d[[v]] <- factor(as.character(d[[v]]), levels = levels_of[[v]])

subgroups <- c(list(overall = rep(TRUE, nrow(d))), unlist(lapply(c("sex", "country"), function(b)
  setNames(lapply(levels_of[[b]], function(l) !is.na(d[[b]]) & d[[b]] == l), paste0(b, "=", levels_of[[b]]))),
  recursive = FALSE))

json <- function(x) {
  if (is.list(x)) return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  if (is.na(x)) return("null")
  if (is.integer(x)) return(format(x))
  formatC(x, digits = 17, format = "g")
}

continuous <- setNames(lapply(numeric, function(v) lapply(subgroups, function(keep) {
  x <- d[[v]][keep]
  list(n = sum(!is.na(x)), n_missing = sum(is.na(x)), mean = mean(x, na.rm = TRUE), sd = sd(x, na.rm = TRUE))
})), numeric)
frequency <- setNames(lapply(c("sex", "ph.ecog"), function(v) lapply(subgroups, function(keep) {
  x <- d[[v]][keep]
  count <- as.list(table(x))
  list(n = sum(!is.na(x)), n_missing = sum(is.na(x)), count = lapply(count, as.integer),
       percent_of_nonmissing = lapply(count, function(k) 100 * k / sum(!is.na(x))))
})), c("sex", "ph.ecog"))
writeLines(json(list(continuous = continuous, frequency = frequency)), "expected.json")
