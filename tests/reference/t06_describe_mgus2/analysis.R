# Makes expected.json from the rows of ../p09_gamma_mgus2. Run in this folder: Rscript analysis.R. Needs jsonlite.
countries <- c("AT", "BE", "CZ", "DK")
d <- do.call(rbind, lapply(countries, function(cc) read.csv(file.path("..", "p09_gamma_mgus2", "data", paste0(cc, ".csv")))))
d$country <- factor(d$country, countries)
d$sex <- factor(d$sex, c("F", "M"))
d <- d[d$age >= 80, ]
probs <- c(p5 = .05, p25 = .25, p50 = .5, p75 = .75, p95 = .95)
number <- function(v) {
  x <- v[!is.na(v)]; n <- length(x); se <- sd(x) / sqrt(n)
  q <- function(type) as.list(setNames(quantile(x, probs, type = type, names = FALSE), names(probs)))
  list(n = n, n_missing = sum(is.na(v)), mean = mean(x), sd = sd(x), var = var(x), se_mean = se, sum = sum(x), min = min(x), max = max(x),
       quantile_type7 = q(7), quantile_type2 = q(2),
       t_ci95 = list(lower = mean(x) - qt(.975, n - 1) * se, upper = mean(x) + qt(.975, n - 1) * se))
}
share <- function(v) {
  count <- table(v); n <- sum(count)
  list(n = n, n_missing = sum(is.na(v)), count = as.list(count), percent_of_nonmissing = as.list(100 * count / n))
}
groups <- function(f, name) {
  out <- list(overall = f(d[[name]]))
  for (by in c("sex", "country")) for (level in levels(d[[by]])) out[[paste0(by, "=", level)]] <- f(d[[name]][d[[by]] == level])
  out
}
numbers <- c("age", "hgb", "creat", "mspike")
answer <- list(continuous = setNames(lapply(numbers, function(n) groups(number, n)), numbers), frequency = list(sex = groups(share, "sex")))
writeLines(jsonlite::toJSON(answer, auto_unbox = TRUE, digits = NA, na = "null"), "expected.json")
