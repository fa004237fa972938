# Makes expected.json from the rows of ../p13_cox_rotterdam_gbsg. Run in this folder: Rscript analysis.R
# Needs the package metafor.
suppressMessages(library(metafor))
countries <- c("NL", "BE", "DE", "AT")
d <- do.call(rbind, lapply(countries, function(cc)
  read.csv(file.path("..", "p13_cox_rotterdam_gbsg", "data", paste0(cc, ".csv")),
           colClasses = c(hormon = "character", meno = "character"))))
d$hormon <- factor(d$hormon, c("0", "1")); d$meno <- factor(d$meno, c("0", "1")); d$size <- factor(d$size, c("<=20", "20-50", ">50"))
tight <- glm.control(epsilon = 1e-15, maxit = 200)
of <- function(fit, name) list(y = vapply(fit, function(f) coef(f)[[name]], 0), v = vapply(fit, function(f) vcov(f)[name, name], 0))
each <- function(fit) lapply(split(d, factor(d$country, countries)), fit)
table2 <- each(function(x) { t <- table(factor(x$hormon, c("1", "0")), factor(x$status, c(1, 0)))
                             c(log(t[1, 1] * t[2, 2] / t[1, 2] / t[2, 1]), sum(1 / t)) })
effects <- list(
  logistic = of(each(function(x) glm(status ~ hormon + age + size, binomial, x, control = tight)), "hormon1"),
  poisson = of(each(function(x) glm(nodes ~ hormon + meno + age, poisson, x, control = tight)), "hormon1"),
  gamma = of(each(function(x) glm(rfstime ~ hormon + age, Gamma("log"), x[x$rfstime > 0, ], control = tight)), "age"),
  linear = of(each(function(x) lm(nodes ~ hormon + age + size, x)), "size>50"),
  crude = list(y = vapply(table2, `[`, 0, 1), v = vapply(table2, `[`, 0, 2)))

whole <- function(e) {
  y <- e$y; v <- e$v; k <- length(y)
  one <- function(method, test) {
    f <- rma(y, v, method = method, test = test, control = list(threshold = 1e-15, maxiter = 10000, tol = 1e-15))
    if (f$tau2 < 1e-9 * mean(v)) { f$tau2 <- 0; if (method != "FE") { f$I2 <- 0; f$H2 <- 1 } }  # what its search leaves of 0
    q <- if (test == "knha") qt(.975, k - 1) else qnorm(.975)
    half <- q * sqrt(f$se^2 + f$tau2); wide <- qt(.975, k - 2) * sqrt(f$se^2 + f$tau2)
    fixed <- method == "FE"
    list(estimate = c(f$beta), se = f$se, stat = f$zval, p = f$pval, ci95_lower = f$ci.lb, ci95_upper = f$ci.ub,
         tau2 = f$tau2, se_tau2 = if (fixed) NA else f$se.tau2, I2_percent = f$I2, H2 = f$H2,
         prediction_interval95 = list(lower = if (fixed) NA else c(f$beta) - half, upper = if (fixed) NA else c(f$beta) + half),
         prediction_interval95_t_km2 = list(lower = c(f$beta) - wide, upper = c(f$beta) + wide),
         weights_percent = as.list(setNames(weights(f), countries)), loglik = c(logLik(f)))
  }
  f <- rma(y, v, method = "DL")
  profile <- confint(f, control = list(tol = 1e-15))$random["tau^2", ]
  out <- lapply(seq_len(k), function(i) { g <- rma(y[-i], v[-i], method = "DL"); list(estimate = c(g$beta), se = g$se, tau2 = g$tau2) })
  list(studies = setNames(lapply(1:k, function(i) list(yi = y[[i]], vi = v[[i]], sei = sqrt(v[[i]]))), countries),
       Q = list(statistic = f$QE, df = k - 1, p = f$QEp), I2_percent_from_Q = max(0, 100 * (f$QE - (k - 1)) / f$QE),
       fixed = one("FE", "z"), DL = one("DL", "z"), REML = one("REML", "z"), ML = one("ML", "z"), PM = one("PM", "z"),
       DL_knapp_hartung = one("DL", "knha"), REML_knapp_hartung = one("REML", "knha"),
       tau2_q_profile_ci95 = list(lower = profile[["ci.lb"]], upper = profile[["ci.ub"]]),
       leave_one_out_DL = setNames(out, countries))
}
json <- function(x) {
  if (is.list(x)) return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  ifelse(is.na(x), "null", formatC(x, digits = 17, format = "g", width = 1))
}
writeLines(json(lapply(effects, whole)), "expected.json")
