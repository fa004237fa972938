# Makes expected.json from the rows of ../p13_cox_rotterdam_gbsg. Run in this folder: Rscript analysis.R
# Needs the package survival; the meta-analysis is written out, in base R.
library(survival)
countries <- c("NL", "BE", "DE", "AT")
d <- do.call(rbind, lapply(countries, function(cc)
  read.csv(file.path("..", "p13_cox_rotterdam_gbsg", "data", paste0(cc, ".csv")), colClasses = c(hormon = "character"))))
d$hormon <- factor(d$hormon, levels = c("0", "1"))

fits <- lapply(countries, function(cc) coxph(Surv(rfstime, status) ~ hormon + age + nodes, d[d$country == cc, ],
                                             ties = "efron", control = coxph.control(eps = 1e-14, toler.chol = 1e-15, iter.max = 50)))
y <- vapply(fits, function(f) coef(f)[["hormon1"]], 0)
names(y) <- countries
v <- vapply(fits, function(f) vcov(f)["hormon1", "hormon1"], 0)

dl <- function(y, v) {
  w <- 1 / v
  q <- sum(w * (y - sum(w * y) / sum(w))^2)
  max(0, (q - (length(y) - 1)) / (sum(w) - sum(w^2) / sum(w)))
}
pooled <- function(y, v, tau2) {
  w <- 1 / (v + tau2)
  mu <- sum(w * y) / sum(w)
  se <- 1 / sqrt(sum(w))
  list(estimate = mu, se = se, stat = mu / se, p = 2 * pnorm(-abs(mu / se)), ci95_lower = mu - qnorm(.975) * se,
       ci95_upper = mu + qnorm(.975) * se, tau2 = tau2,
       weights_percent = setNames(as.list(100 * w / sum(w)), names(y)))
}
K <- length(y)
w <- 1 / v
q <- sum(w * (y - sum(w * y) / sum(w))^2)
tau2 <- dl(y, v)
typical <- (K - 1) * sum(w) / (sum(w)^2 - sum(w^2))
kh <- local({
  w <- 1 / (v + tau2)
  mu <- sum(w * y) / sum(w)
  se <- sqrt(sum(w * (y - mu)^2) / ((K - 1) * sum(w)))
  list(estimate = mu, se = se, stat = mu / se, p = 2 * pt(-abs(mu / se), K - 1), ci95_lower = mu - qt(.975, K - 1) * se,
       ci95_upper = mu + qt(.975, K - 1) * se, tau2 = tau2)
})

json <- function(x) {
  if (is.list(x)) return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  formatC(x, digits = 17, format = "g", width = 1)
}
writeLines(json(list(meta = list(
  studies = setNames(lapply(1:K, function(k) list(yi = y[k], vi = v[k], sei = sqrt(v[k]))), countries),
  Q = list(statistic = q, df = K - 1, p = pchisq(q, K - 1, lower.tail = FALSE)),
  I2_percent_from_Q = max(0, 100 * (q - (K - 1)) / q),
  fixed = pooled(y, v, 0),
  DL = c(pooled(y, v, tau2), list(I2_percent = 100 * tau2 / (tau2 + typical), H2 = 1 + tau2 / typical)),
  DL_knapp_hartung = kh,
  leave_one_out_DL = setNames(lapply(1:K, function(k) pooled(y[-k], v[-k], dl(y[-k], v[-k]))[c("estimate", "se", "tau2")]),
                              countries)))), "expected.json")
