# Makes expected.json from the rows of ../p13_cox_rotterdam_gbsg. Run in this folder: Rscript analysis.R
# Needs the package survival.
library(survival)
countries <- c("NL", "BE", "DE", "AT")
d <- do.call(rbind, lapply(countries, function(cc)
  read.csv(file.path("..", "p13_cox_rotterdam_gbsg", "data", paste0(cc, ".csv")), colClasses = c(hormon = "character"))))
d$country <- factor(d$country, countries); d$hormon <- factor(d$hormon, c("0", "1"))
d$size <- factor(d$size, c("<=20", "20-50", ">50"))
GC <- glm.control(epsilon = 1e-15, maxit = 200); CC <- coxph.control(eps = 1e-14, toler.chol = 1e-15, iter.max = 60)

key <- function(names) {
  for (f in c("country", "hormon", "size")) names <- gsub(paste0("(^|:)", f, "([^:]+)"), paste0("\\1", f, "=\\2"), names)
  names
}
coefs <- function(f, t = FALSE, only = NULL) {
  b <- coef(f); se <- sqrt(diag(vcov(f))); s <- b / se; q <- if (t) qt(.975, f$df.residual) else qnorm(.975)
  p <- if (t) 2 * pt(-abs(s), f$df.residual) else 2 * pnorm(-abs(s))
  keep <- if (is.null(only)) seq_along(b) else grep(paste0("^", only), names(b))
  out <- lapply(keep, function(i) { x <- list(estimate = b[[i]], se = se[[i]], z = s[[i]], p = p[[i]],
    ci95_lower = b[[i]] - q * se[[i]], ci95_upper = b[[i]] + q * se[[i]]); if (t) names(x)[3] <- "t"; x })
  setNames(out, key(names(b)[keep]))
}
ll <- function(f) if (inherits(f, "coxph")) f$loglik[2] else c(logLik(f))
lrt <- function(a, b) { x <- 2 * (ll(b) - ll(a)); df <- length(coef(b)) - length(coef(a)); list(statistic = x, df = df, p = pchisq(x, df, lower.tail = FALSE)) }
one <- function(fit, left, arm, covs, t = FALSE, cox = FALSE) {
  f <- function(...) as.formula(paste(left, "~", paste(c(covs, ...), collapse = "+")))
  main <- fit(f("country", arm), d); full <- fit(f("country", arm, paste0("country:", arm)), d)
  inter <- grep(":", names(coef(full))); b <- coef(full)[inter]; V <- vcov(full)[inter, inter]; w <- c(b %*% solve(V, b))
  out <- list(n = nrow(d), main_effects_model = list(loglik = ll(main), coef = coefs(main, t)),
    interaction_model = list(loglik = ll(full), coef = coefs(full, t)), lrt_interaction = lrt(main, full),
    wald_interaction = list(statistic = w, df = length(b), p = pchisq(w, length(b), lower.tail = FALSE)))
  if (t) { a <- anova(main, full); out$f_test_interaction <- list(F = a$F[2], df1 = a$Df[2], df2 = a$Res.Df[2], p = a$`Pr(>F)`[2]) }
  if (cox) {
    d$c2 <- d$country
    s0 <- fit(f(arm, "strata(country)"), d)
    X <- model.matrix(as.formula(paste("~", arm, "* country")), d); X <- X[, grep(":", colnames(X)), drop = FALSE]
    d$X <- X; s1 <- fit(f(arm, "X", "strata(country)"), d)
    out$stratified_lrt_interaction <- lrt(s0, s1)
  }
  own <- lapply(split(d, d$country), function(x) { m <- fit(f(arm), x); list(n = nrow(x), coef = coefs(m, t, arm), loglik = ll(m)) })
  c(out, list(by_country = own))
}
json <- function(x) {
  if (is.list(x)) return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  ifelse(is.na(x), "null", formatC(x, digits = 17, format = "g", width = 1))
}
writeLines(json(list(
  logistic = one(function(f, x) glm(f, binomial, x, control = GC), "status", "hormon", "age"),
  linear = one(function(f, x) lm(f, x), "nodes", "size", c("age", "hormon"), t = TRUE),
  cox = one(function(f, x) coxph(f, x, ties = "efron", control = CC), "Surv(rfstime, status)", "hormon", "age", cox = TRUE))), "expected.json")
