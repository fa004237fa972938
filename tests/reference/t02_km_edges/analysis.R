# Makes expected.json from data/. Run in this folder: Rscript analysis.R. Needs the package survival.
library(survival)
case_countries <- c("XA", "XB", "XC")
groups <- c("all_fail", "none_fail", "one", "half_then_censored", "half_then_event", "quarter_ties", "at_zero",
            "few_at_end", "uneven", "small", "many")
d <- do.call(rbind, lapply(case_countries, function(cc) read.csv(file.path("data", paste0(cc, ".csv")))))
d$group <- factor(d$group, levels = groups)
d$country <- factor(d$country, levels = case_countries)
d$side <- factor(d$side, levels = c("left", "right"))

number <- function(x) ifelse(is.na(x), "null", formatC(x, digits = 17, format = "g", width = 1))
json <- function(x) {
  if (is.list(x)) return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  if (is.matrix(x)) return(paste0("[", paste0(apply(x, 1, json), collapse = ", "), "]"))
  if (length(x) == 1 && is.null(attr(x, "array"))) return(number(x))
  paste0("[", paste0(number(x), collapse = ", "), "]")
}
array_of <- function(x) { attr(x, "array") <- TRUE; x }

km <- function(rows) {
  fits <- lapply(c(loglog = "log-log", plain = "plain", log = "log"),
                 function(ct) survfit(Surv(t, e) ~ 1, rows, conf.type = ct))
  quantiles <- lapply(fits, function(f) {
    q <- quantile(f, c(.25, .5, .75))
    setNames(lapply(1:3, function(k) list(estimate = q$quantile[[k]], lower = q$lower[[k]], upper = q$upper[[k]])),
             c("q25", "median", "q75"))
  })
  mean <- survival:::survmean(fits$plain, rmean = 12)$matrix
  f <- fits$plain
  at <- f$n.event > 0
  alive <- ifelse(f$surv[at] > 0, 1, NA)
  list(n = sum(f$n.event + f$n.censor), events = sum(f$n.event), quantiles = quantiles,
       rmst = list(tau = 12, estimate = mean[["rmean"]], se = mean[["se(rmean)"]]),
       curve_event_times = list(
         time = array_of(f$time[at]), n_risk = array_of(f$n.risk[at]), n_event = array_of(f$n.event[at]),
         surv = array_of(f$surv[at]), se = array_of(alive * f$std.err[at] * f$surv[at]),
         cumhaz = array_of(f$cumhaz[at]), se_cumhaz = array_of(f$std.chaz[at]),
         loglog_lower = array_of(alive * fits$loglog$lower[at]), loglog_upper = array_of(alive * fits$loglog$upper[at]),
         plain_lower = array_of(alive * f$lower[at]), plain_upper = array_of(alive * f$upper[at])))
}
split_by <- function(v) setNames(lapply(levels(d[[v]]), function(l) km(d[d[[v]] == l, ])), paste0(v, "=", levels(d[[v]])))

test <- function(formula, rho) {
  s <- survdiff(formula, d, rho = rho)
  o <- if (is.matrix(s$obs)) rowSums(s$obs) else s$obs
  e <- if (is.matrix(s$exp)) rowSums(s$exp) else s$exp
  df <- sum(e > 0) - 1
  list(chisq = s$chisq, df = df, p = pchisq(s$chisq, df, lower.tail = FALSE),
       observed = array_of(o), expected = array_of(e), variance = s$var)
}
tests <- function(plain, stratified) list(
  logrank = test(plain, 0), logrank_stratified = test(stratified, 0),
  peto_peto_rho1 = test(plain, 1), peto_peto_rho1_stratified = test(stratified, 1))

writeLines(json(list(
  km = c(list(overall = km(d)), split_by("group"), split_by("country")),
  tests_groups = tests(Surv(t, e) ~ group, Surv(t, e) ~ group + strata(country)),
  tests_sides = tests(Surv(t, e) ~ side, Surv(t, e) ~ side + strata(group)))), "expected.json")
