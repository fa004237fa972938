# Makes expected.json from the rows of ../p11_km_lung. Run in this folder: Rscript analysis.R
suppressMessages({library(metafor); library(vcd)})
countries <- c("DK", "NO", "FI", "IS", "SE")
levels_of <- list(sex = c("male", "female"), ph.ecog = c("0", "1", "2", "3"), country = countries)
d <- do.call(rbind, lapply(countries, function(cc)
  read.csv(file.path("..", "p11_km_lung", "data", paste0(cc, ".csv")), na.strings = "")))
for (v in names(levels_of)) d[[v]] <- factor(as.character(d[[v]]), levels = levels_of[[v]])

z <- qnorm(0.975)
ci <- function(x) list(lower = x[[1]], upper = x[[2]])
chi <- function(t) list(statistic = t$statistic[[1]], df = as.integer(t$parameter), p = t$p.value)
chi2 <- function(x, df) list(statistic = x, df = as.integer(df), p = pchisq(x, df, lower.tail = FALSE))
mat <- function(x, rows, cols) list(rows = rows, cols = cols, values = matrix(as.numeric(x), nrow(x)))

two_arms <- function(x) {  # rows treated, control; columns event, none
  storage.mode(x) <- "double"
  a <- x[1, 1]; b <- x[1, 2]; c <- x[2, 1]; e <- x[2, 2]; n1 <- a + b; n0 <- c + e; m <- a + c
  names <- rownames(x)
  free <- suppressWarnings(chisq.test(x, correct = FALSE)); yates <- suppressWarnings(chisq.test(x, correct = TRUE))
  s <- max(0, m - n0):min(m, n1); base <- dhyper(s, n1, n0, m, log = TRUE)
  at <- function(l) { w <- base + l * s; w <- exp(w - max(w)); w / sum(w) }
  root <- function(f) exp(uniroot(f, c(-40, 40), tol = 1e-15, maxiter = 5000)$root)
  mle <- if (a == min(s)) 0 else if (a == max(s)) Inf else root(function(l) sum(s * at(l)) - a)
  lo <- if (a == min(s)) 0 else root(function(l) sum(at(l)[s >= a]) - 0.025)
  up <- if (a == max(s)) Inf else root(function(l) sum(at(l)[s <= a]) - 0.025)
  one <- function(k, n) list(events = as.integer(k), n = as.integer(n), p = k / n,
    wilson95 = ci(prop.test(k, n, correct = FALSE)$conf.int), clopper_pearson95 = ci(binom.test(k, n)$conf.int))
  p1 <- a / n1; p0 <- c / n0
  w1 <- prop.test(a, n1, correct = FALSE)$conf.int; w0 <- prop.test(c, n0, correct = FALSE)$conf.int
  se <- sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0)
  ratio <- function(r, s) list(estimate = r, log_estimate = log(r), se_log = s, ci95 = ci(exp(log(r) + c(-1, 1) * z * s)))
  list(chisq_pearson = chi(free), chisq_yates = chi(yates),
    fisher = list(p_two_sided = fisher.test(x)$p.value, p_greater = fisher.test(x, alternative = "greater")$p.value,
      p_less = fisher.test(x, alternative = "less")$p.value, or_conditional_mle = mle, or_ci95_exact = list(lower = lo, upper = up)),
    treated = one(a, n1), control = one(c, n0),
    risk_difference = list(estimate = p1 - p0, se_wald = se, wald95 = ci(p1 - p0 + c(-1, 1) * z * se),
      newcombe95 = list(lower = p1 - p0 - sqrt((p1 - w1[1])^2 + (w0[2] - p0)^2), upper = p1 - p0 + sqrt((w1[2] - p1)^2 + (p0 - w0[1])^2))),
    risk_ratio = ratio(p1 / p0, sqrt(1 / a - 1 / n1 + 1 / c - 1 / n0)),
    odds_ratio = ratio(a * e / (b * c), sqrt(1 / a + 1 / b + 1 / c + 1 / e)),
    table = mat(x, names, c("event", "no_event")), expected = mat(free$expected, names, c("event", "no_event")))
}
crossed <- function(r, k, fisher) {
  x <- table(r, k); x <- x[rowSums(x) > 0, colSums(x) > 0]
  t <- suppressWarnings(chisq.test(x, correct = FALSE)); on <- x > 0
  out <- list(table = mat(x, rownames(x), colnames(x)), n_missing = sum(is.na(r) | is.na(k)), chisq_pearson = chi(t),
    likelihood_ratio = chi2(2 * sum(x[on] * log(x[on] / t$expected[on])), prod(dim(x) - 1)),
    cramers_v = sqrt(t$statistic[[1]] / (sum(x) * (min(dim(x)) - 1))))
  if (fisher) out$fisher_p <- fisher.test(x, workspace = 2e7)$p.value
  out
}
strat <- function(arm, event, strata) {
  x <- table(arm, event, droplevels(strata)); n <- dimnames(x)[[3]]
  s <- setNames(lapply(n, function(k) list(treated_event = x[1, 1, k], treated_noevent = x[1, 2, k],
    control_event = x[2, 1, k], control_noevent = x[2, 2, k])), n)
  mh <- function(measure) {
    f <- rma.mh(measure = measure, ai = x[1, 1, ], bi = x[1, 2, ], ci = x[2, 1, ], di = x[2, 2, ], correct = FALSE)
    tr <- if (measure == "RD") identity else exp
    list(fit = f, out = list(estimate = tr(f$beta[[1]]), log_or_raw_estimate = f$beta[[1]], se = f$se, z = f$zval, p = f$pval,
      ci95 = list(lower = tr(f$beta[[1]] - z * f$se), upper = tr(f$beta[[1]] + z * f$se))))
  }
  o <- mh("OR"); w <- woolf_test(x)
  list(strata = s, cmh_no_correction = chi(mantelhaen.test(x, correct = FALSE)),
    cmh_continuity_corrected = chi(mantelhaen.test(x, correct = TRUE)), mh_odds_ratio = o$out,
    mh_risk_ratio = mh("RR")$out, mh_risk_difference = mh("RD")$out,
    breslow_day = list(statistic = o$fit$BD, df = as.integer(o$fit$k.pos - 1), p = o$fit$BDp),
    breslow_day_tarone = list(statistic = o$fit$TA, df = as.integer(o$fit$k.pos - 1), p = o$fit$TAp), woolf_homogeneity = chi(w))
}
general <- function(r, k, s) {
  x <- table(droplevels(r), droplevels(k), droplevels(s))
  list(general_association = chi(mantelhaen.test(x)))
}
event <- factor(ifelse(d$status == 1, "event", "none"), c("event", "none"))
arm <- factor(d$sex, c("female", "male"))
old <- d$age >= 74
answers <- list(
  death_by_sex = two_arms(table(arm, event)),
  no_death_in_iceland = two_arms(table(arm[d$country == "IS" & d$ph.ecog %in% c("0", "1")], event[d$country == "IS" & d$ph.ecog %in% c("0", "1")])),
  ecog_by_sex = crossed(d$ph.ecog, d$sex, TRUE),
  country_by_ecog_old = crossed(d$country[old], d$ph.ecog[old], TRUE),
  death_by_country = strat(arm, event, d$country),
  death_by_ecog = strat(arm[d$ph.ecog %in% c("0", "1", "2")], event[d$ph.ecog %in% c("0", "1", "2")], d$ph.ecog[d$ph.ecog %in% c("0", "1", "2")]),
  ecog_general = general(d$ph.ecog[d$ph.ecog %in% c("0", "1", "2")], d$sex[d$ph.ecog %in% c("0", "1", "2")], d$country[d$ph.ecog %in% c("0", "1", "2")]),
  sex_general = general(d$sex, event, d$country))
# what cannot be estimated is no number in JSON
nullable <- function(x) { for (n in names(x)) if (is.list(x[[n]])) x[[n]] <- nullable(x[[n]]) else if (length(x[[n]]) == 1 && is.na(x[[n]])) x[n] <- list(NULL) else if (length(x[[n]]) == 1 && is.numeric(x[[n]]) && is.infinite(x[[n]])) x[[n]] <- if (x[[n]] > 0) "Inf" else "-Inf"; x }
write(jsonlite::toJSON(nullable(answers), auto_unbox = TRUE, digits = I(17), null = "null", pretty = TRUE), "expected.json")
