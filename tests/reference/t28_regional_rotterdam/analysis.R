# Makes expected.json from the rows of ../p13_cox_rotterdam_gbsg. Run in this folder: Rscript analysis.R
# Needs survival, metafor (blup, rma) and jsonlite; the rest is written out. Smaller log hazard ratios are better.
library(survival)
suppressPackageStartupMessages(library(metafor))
countries <- c("NL", "BE", "DE", "AT")
d <- do.call(rbind, lapply(countries, function(cc)
  read.csv(file.path("..", "p13_cox_rotterdam_gbsg", "data", paste0(cc, ".csv")), colClasses = c(hormon = "character"))))
d$hormon <- factor(d$hormon, levels = c("0", "1"))
fits <- lapply(countries, function(cc) coxph(Surv(rfstime, status) ~ hormon + age + nodes, d[d$country == cc, ],
                                             ties = "efron", control = coxph.control(eps = 1e-14, toler.chol = 1e-15, iter.max = 50)))
y <- setNames(vapply(fits, function(f) coef(f)[["hormon1"]], 0), countries)
v <- setNames(vapply(fits, function(f) vcov(f)["hormon1", "hormon1"], 0), countries)
z <- qnorm(.975)

effects <- function(y, v) setNames(lapply(seq_along(y), function(k) list(
  estimate = y[[k]], se = sqrt(v[[k]]), ci95_lower = y[[k]] - z * sqrt(v[[k]]), ci95_upper = y[[k]] + z * sqrt(v[[k]]),
  information_fraction = (1 / v[[k]]) / sum(1 / v))), names(y))

on_ratio <- function(f, mu, V, pi) {  # P(1 - HR of the region >= pi (1 - HR overall)), the region's log HR a
  surely <- pnorm(log(1 - pi), mu, sqrt(V / f))
  rest <- function(a) dnorm(a, mu, sqrt(V / f)) * pnorm(log((exp(a) - 1 + pi) / pi), f * a + (1 - f) * mu,
                                                        sqrt((1 - f) * V), lower.tail = FALSE)
  cut <- log(1 - pi) + c(1e-13, .05, .2, .5, 1, 2, 5)
  surely + sum(sapply(seq_along(cut)[-1], function(k) integrate(rest, cut[k - 1], cut[k], rel.tol = 1e-11, abs.tol = 1e-14)$value))
}

bayes <- function(y, v, prior, upper, pi) {  # tau on (0, upper)
  moments <- function(tau) { w <- 1 / (v + tau^2); c(mu = sum(w * y) / sum(w), V = 1 / sum(w)) }
  log_density <- function(tau) { m <- moments(tau)
    .5 * log(m[["V"]]) - .5 * sum(log(v + tau^2)) - .5 * sum((y - m[["mu"]])^2 / (v + tau^2)) }
  cut <- upper * c(0, .005, .01, .02, .05, .1, .2, .4, 1)
  over <- function(f) { g <- function(taus) sapply(taus, function(tau) prior(tau) * exp(log_density(tau)) * f(tau))
    sum(sapply(seq_along(cut)[-1], function(k) integrate(g, cut[k - 1], cut[k], rel.tol = 1e-11, abs.tol = 1e-15, subdivisions = 500)$value)) }
  total <- over(function(tau) 1)
  mean_of <- function(f) over(f) / total
  mixed <- function(centre, variance) {
    m <- mean_of(centre); s <- sqrt(mean_of(function(t) variance(t) + (centre(t) - m)^2))
    q <- function(p) uniroot(function(x) mean_of(function(t) pnorm(x, centre(t), sqrt(variance(t)))) - p,
                             m + c(-6, 6) * s, tol = 1e-11)$root
    list(mean = m, sd = s, ci95_lower = q(.025), ci95_upper = q(.975))
  }
  tau_mean <- mean_of(identity)
  list(mu = mixed(function(t) moments(t)[["mu"]], function(t) moments(t)[["V"]]),
       tau = list(mean = tau_mean, sd = sqrt(mean_of(function(t) (t - tau_mean)^2))),
       regions = setNames(lapply(seq_along(y), function(s) {
         B <- function(t) v[[s]] / (v[[s]] + t^2)
         centre <- function(t) B(t) * moments(t)[["mu"]] + (1 - B(t)) * y[[s]]
         variance <- function(t) (1 - B(t)) * v[[s]] + B(t)^2 * moments(t)[["V"]]
         kept <- function(t) pnorm(-(centre(t) - pi * moments(t)[["mu"]]) /
                                     sqrt((1 - B(t)) * v[[s]] + (B(t) - pi)^2 * moments(t)[["V"]]))
         c(mixed(centre, variance), list(p_benefit = mean_of(function(t) pnorm(-centre(t) / sqrt(variance(t)))),
                                         p_keeps_pi = mean_of(kept)))
       }), names(y)))
}

answer <- function(y, v, pi, bound, lower_bound, scale) {
  S <- length(y); V <- 1 / sum(1 / v); mu <- sum(y / v) * V; f <- V / v; b <- -y; B <- -mu; Z <- B / sqrt(V)
  se1 <- sqrt(V * (1 / f - pi * (2 - pi)))
  Q <- sum((y - mu)^2 / v)
  plus <- sum((b^2 / v)[b > 0]); minus <- sum((b^2 / v)[b < 0])
  tail <- function(q) sum(dbinom(1:(S - 1), S - 1, .5) * pchisq(q, 1:(S - 1), lower.tail = FALSE))
  reml <- rma(y, v, method = "REML", control = list(threshold = 1e-14, maxiter = 1000))
  shrunk <- blup(reml)
  js <- max(0, 1 - (S - 3) / Q)
  list(
    overall = list(estimate = mu, se = sqrt(V), z = mu / sqrt(V), p = 2 * pnorm(-abs(Z)), ci95_lower = mu - z * sqrt(V), ci95_upper = mu + z * sqrt(V)),
    regions = effects(y, v),
    method_1 = list(pi = pi, regions = setNames(lapply(1:S, function(k) list(
      share_of_overall = b[[k]] / B, holds = b[[k]] >= pi * B, difference_from_threshold = b[[k]] - pi * B,
      se_of_difference = se1[[k]], z = (b[[k]] - pi * B) / se1[[k]],
      probability_if_uniform = pnorm((1 - pi) * B / se1[[k]]),
      one_minus_ratio = 1 - exp(y[[k]]), share_of_overall_one_minus_ratio = (1 - exp(y[[k]])) / (1 - exp(mu)),
      holds_one_minus_ratio = 1 - exp(y[[k]]) >= pi * (1 - exp(mu)),
      probability_if_uniform_one_minus_ratio = on_ratio(f[[k]], mu, V, pi))), names(y))),
    method_2 = list(holds = all(b > 0), regions_in_favour = sum(b > 0), regions = S, probability_if_uniform = prod(pnorm(sqrt(f) * Z))),
    every_region_keeps_pi = list(pi = pi, holds = all(b >= pi * B)),
    every_region_at_least = list(bound = bound, holds = all(b >= bound), probability_if_uniform = prod(pnorm((B - bound) / sqrt(v)))),
    every_lower_limit_above = list(bound = lower_bound, level_one_sided = .025, holds = all(b - z * sqrt(v) > lower_bound),
      probability_if_uniform = prod(pnorm((B - lower_bound) / sqrt(v) - z))),
    no_interaction = list(statistic = Q, df = S - 1, p = pchisq(Q, S - 1, lower.tail = FALSE), level = .1,
      holds = pchisq(Q, S - 1, lower.tail = FALSE) > .1, probability_if_uniform = .9),
    gail_simon = list(Q_plus = plus, Q_minus = minus, Q = min(plus, minus), regions = S, p = tail(min(plus, minus)),
      critical_value_5_percent = uniroot(function(q) tail(q) - .05, c(.1, 40), tol = 1e-13)$root),
    empirical_bayes = list(tau2_method = "REML", tau2 = reml$tau2, mu = as.numeric(reml$beta), regions = setNames(lapply(1:S, function(k) list(
      estimate = shrunk$pred[k], se = shrunk$se[k], ci95_lower = shrunk$pred[k] - z * shrunk$se[k],
      ci95_upper = shrunk$pred[k] + z * shrunk$se[k], shrinkage = v[[k]] / (v[[k]] + reml$tau2))), names(y))),
    james_stein = if (S < 4) NULL else list(mu = mu, shrinkage = 1 - js, regions = setNames(as.list(mu + js * (y - mu)), names(y))),
    bayes = bayes(y, v, function(tau) exp(-tau^2 / (2 * scale^2)), 8 * scale, pi),
    bayes_sensitivity = setNames(list(bayes(y, v, function(tau) 1, 8 * scale, pi)), paste0("uniform(0, ", 8 * scale, ")")))
}
together <- 1 / sum(1 / v[1:2])
three_y <- c(Benelux = sum((y / v)[1:2]) * together, y[3:4])
three_v <- c(Benelux = together, v[3:4])
expected <- list(by_country = answer(y, v, .5, 0, 0, .5), by_region = answer(three_y, three_v, .3, -.1, -.8, .25))
jsonlite::write_json(expected, "expected.json", auto_unbox = TRUE, digits = I(17), null = "null", pretty = TRUE)
