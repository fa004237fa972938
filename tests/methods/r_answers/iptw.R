# Weighting for the treated, within bounds and with a largest weight, on the rows of ../../reference/p22_iptw_rotterdam
# -> iptw_answers.json. Run once: Rscript iptw.R
suppressMessages(library(survival))
json <- function(x) {
  if (is.list(x)) return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ",\n"), "}"))
  text <- paste(ifelse(is.na(x), "null", formatC(x, digits = 17, format = "g", width = 1)), collapse = ", ")
  if (length(x) > 1) paste0("[", text, "]") else text
}
folder <- "../../reference/p22_iptw_rotterdam/data"
countries <- c("NL", "BE", "DE", "AT")
d <- do.call(rbind, lapply(countries, function(x) read.csv(file.path(folder, paste0(x, ".csv")))))
d$country <- factor(d$country, countries)
d$grade <- factor(d$grade, c("2", "1", "3"))
fit <- glm(hormon ~ age + nodes + grade, binomial, d, control = glm.control(epsilon = 1e-15, maxit = 200))
e <- fitted(fit); a <- d$hormon; p <- mean(a); x <- model.matrix(fit)[, -1]
times <- c(365, 1000.5); tau <- 1500
weighted <- function(w, keep) {
  cox <- function(ties) {
    f <- coxph(Surv(rfstime, status) ~ hormon, d[keep, ], weights = w[keep], ties = ties, robust = TRUE, control = coxph.control(eps = 1e-14, iter.max = 50))
    g <- coxph(Surv(rfstime, status) ~ hormon, d[keep, ], weights = w[keep], ties = ties, cluster = country, control = coxph.control(eps = 1e-14, iter.max = 50))
    list(coef = coef(f)[[1]], se_naive = sqrt(f$naive.var[1, 1]), se_robust_id = sqrt(f$var[1, 1]), se_robust_cluster_country = sqrt(g$var[1, 1]), loglik = f$loglik[2])
  }
  km <- function(k) {
    i <- keep & a == k
    s <- survfit(Surv(rfstime, status) ~ 1, d[i, ], weights = w[i])
    t <- c(0, s$time[s$time < tau], tau); step <- c(1, s$surv[s$time < tau])
    list(surv = summary(s, times = times, extend = TRUE)$surv, weighted_n_risk = vapply(times, function(t) sum(w[i][d$rfstime[i] >= t]), 0),
         rmst = sum(diff(t) * step))
  }
  smd <- function(w) vapply(colnames(x), function(k) {
    m <- function(j) weighted.mean(x[keep & a == j, k], w[keep & a == j]); v <- function(j) var(x[keep & a == j, k])
    (m(1) - m(0)) / sqrt((v(1) + v(0)) / 2)
  }, 0)
  summed <- function(i) list(sum = sum(w[i]), mean = mean(w[i]), sd = sd(w[i]), min = min(w[i]), max = max(w[i]), ess = sum(w[i])^2 / sum(w[i]^2))
  before <- smd(rep(1, length(a))); after <- smd(w)
  names(before) <- names(after) <- sub("grade", "grade=", colnames(x))
  list(weights = list(treated = summed(keep & a == 1), control = summed(keep & a == 0), all = summed(keep)),
       smd_before = as.list(before), smd_after = as.list(after), cox = list(efron = cox("efron"), breslow = cox("breslow")),
       km = list(treated = km(1), control = km(0)))
}
stratified <- function(w) {
  f <- coxph(Surv(rfstime, status) ~ hormon + strata(country), d, weights = w, robust = TRUE, control = coxph.control(eps = 1e-14, iter.max = 50))
  list(coef = coef(f)[[1]], se_naive = sqrt(f$naive.var[1, 1]), se_robust_id = sqrt(f$var[1, 1]), loglik = f$loglik[2])
}
every <- rep(TRUE, length(a))
writeLines(json(list(
  stratified = stratified(ifelse(a == 1, 1 / e, 1 / (1 - e))),
  att = weighted(ifelse(a == 1, 1, e / (1 - e)), every),
  trimmed = weighted(ifelse(a == 1, p / e, (1 - p) / (1 - e)), e >= .08 & e <= .4),
  truncated = weighted(pmin(ifelse(a == 1, 1 / e, 1 / (1 - e)), 5), every))), "iptw_answers.json")
