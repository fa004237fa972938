# Generalised linear and negative binomial models of the pooled rows of estimates.csv -> glm_answers.json.
# Run once: Rscript glm.R
suppressMessages({library(MASS); library(sandwich)})
json <- function(x) {
  if (is.null(x)) return("null")
  if (is.list(x)) return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ",\n"), "}"))
  if (is.character(x)) return(paste0("\"", x, "\""))
  paste(ifelse(is.na(x), "null", formatC(x, digits = 17, format = "g", width = 1)), collapse = ", ")
}
options(contrasts = c("contr.treatment", "contr.poly"))
d <- read.csv("estimates.csv", check.names = FALSE)
d$country <- factor(d$country, c("AA", "BB", "CC", "DD", "EE", "FF"))
d$`the arm` <- factor(d$`the arm`, c("control", "low dose", "high dose"))
d$sex <- factor(d$sex, c("f", "m"))
d$zone <- factor(d$zone, c("north", "east", "south", "west"))
d$site <- paste0(d$country, 1 + ave(seq_along(d$country), d$country, FUN = seq_along) %% 2)
d$wet <- floor(d$days)
d$shift <- d$shift - 1e9
names(d) <- sub("base.line age", "age", sub("the arm", "arm", names(d)))
exactly <- glm.control(epsilon = 1e-15, maxit = 200)

key <- function(names) {
  one <- function(part) {
    for (f in c("country", "sex", "zone", "arm"))
      if (startsWith(part, f)) return(paste0(c(arm = "the arm")[f] %in% NA, f, "=", substring(part, nchar(f) + 1)))
    part
  }
  out <- vapply(strsplit(names, ":"), function(parts) paste(vapply(parts, one, ""), collapse = ":"), "")
  gsub("FALSEarm", "the arm", gsub("TRUE", "", gsub("\\bage\\b", "base.line age", out)))
}
table_of <- function(b, v, df = Inf) {
  stat <- if (is.finite(df)) "t" else "z"
  out <- lapply(names(b), function(n) {
    e <- b[[n]]; s <- if (n %in% rownames(v)) sqrt(v[n, n]) else NA
    setNames(list(e, s, e / s, 2 * pt(-abs(e / s), df), e - qt(.975, df) * s, e + qt(.975, df) * s),
             c("estimate", "se", stat, "p", "ci95_lower", "ci95_upper"))
  })
  setNames(out, key(names(b)))
}
# glm stops before the maximum where the link is not the canonical one: Newton's steps from there
polished <- function(f, family, data) {
  fit <- glm(f, family, data, control = exactly)
  if (family$family == "Gamma") {
    x <- model.matrix(fit); b <- coef(fit)
    for (k in 1:20) { m <- fit$y / exp(drop(x %*% b) + if (is.null(fit$offset)) 0 else fit$offset); b <- b + solve(crossprod(x, x * m), crossprod(x, m - 1))[, 1] }
    fit <- suppressWarnings(glm(f, family, data, start = b, control = glm.control(epsilon = 1e-15, maxit = 1)))
  }
  fit
}
described <- function(f, family, data, cluster = NULL, robust = TRUE) {
  fit <- polished(f, family, data)
  off <- fit$offset
  used <- data[rownames(fit$model), ]
  used$.off <- if (is.null(off)) 0 else off
  null <- polished(as.formula(paste(f[[2]], "~ 1 + offset(.off)")), family, used)
  s <- summary(fit); tt <- family$family %in% c("quasipoisson", "Gamma", "gaussian")
  df <- if (tt) fit$df.residual else Inf
  n <- nrow(fit$model)
  out <- list(n = n, coef = table_of(coef(fit), s$cov.scaled, df), dispersion = s$dispersion, deviance = fit$deviance,
    null_deviance = null$deviance, df_residual = fit$df.residual, df_null = n - 1,
    pearson_chi2 = sum(residuals(fit, "pearson")^2))
  ll <- if (family$family == "quasipoisson") NULL else as.numeric(logLik(fit))
  if (!is.null(ll)) { p <- attr(logLik(fit), "df"); out$loglik <- ll; out$aic <- -2 * ll + 2 * p; out$bic <- -2 * ll + log(n) * p }
  terms <- drop.scope(fit)
  out$lrt_drop1 <- setNames(lapply(terms, function(t) {
    small <- polished(update(f, paste("~ . -", t)), family, used)
    lost <- fit$rank - small$rank; more <- small$deviance - fit$deviance
    if (tt) { F <- (more / lost) / (fit$deviance / fit$df.residual); list(statistic = F, df = lost, p = pf(F, lost, fit$df.residual, lower.tail = FALSE)) }
    else list(statistic = more, df = lost, p = pchisq(more, lost, lower.tail = FALSE))
  }), gsub("\\barm\\b", "the arm", gsub("\\bage\\b", "base.line age", terms)))
  if (!length(terms)) out$lrt_drop1 <- NULL
  if (robust) {
    out$robust <- list(HC0 = table_of(coef(fit), sandwich(fit)), HC1 = table_of(coef(fit), vcovHC(fit, type = "HC1")), HC3 = table_of(coef(fit), vcovHC(fit, type = "HC3")))
  }
  if (!is.null(cluster)) {
    g <- used[[cluster]]
    out$robust_cluster <- list(CR0 = table_of(coef(fit), vcovCL(fit, g, type = "HC0", cadjust = FALSE)),
                               CR1 = table_of(coef(fit), vcovCL(fit, g, type = "HC1", cadjust = TRUE)))
  }
  out
}
# theta and the coefficients in turn, until nothing moves
nb <- function(f, data) {
  theta <- glm.nb(f, data)$theta
  for (k in 1:500) {
    fit <- glm(f, negative.binomial(theta), data, control = exactly)
    x <- model.matrix(fit); y <- fit$y; b <- coef(fit); off <- if (is.null(fit$offset)) 0 else fit$offset
    for (j in 1:8) {                                      # Newton's steps, as glm stops before the maximum
      mu <- exp(drop(x %*% b) + off)
      b <- b + solve(crossprod(x, x * (mu * (1 + y / theta) / (1 + mu / theta)^2)), crossprod(x, (y - mu) / (1 + mu / theta)))[, 1]
    }
    mu <- exp(drop(x %*% b) + off)
    u <- function(t) sum(digamma(t + y) - digamma(t) + log(t) + 1 - log(t + mu) - (y + t) / (mu + t))
    new <- uniroot(u, theta * c(.5, 2), tol = 1e-15, extendInt = "yes")$root
    if (abs(new / theta - 1) < 1e-14) break
    theta <- new
  }
  w <- mu / (1 + mu / theta)
  i <- sum(trigamma(theta) - trigamma(theta + y) - 1 / theta + 2 / (mu + theta) - (y + theta) / (mu + theta)^2)
  ll <- sum(dnbinom(y, size = theta, mu = mu, log = TRUE))
  list(fit = fit, b = b, theta = theta, se = i^-0.5, ll = ll, v = solve(crossprod(x, x * w)), df = ncol(x),
       deviance = 2 * sum(ifelse(y > 0, y * log(y / mu), 0) - (y + theta) * log((y + theta) / (mu + theta))))
}
counted <- function(f, data) {
  full <- nb(f, data); po <- glm(f, poisson, data, control = exactly)
  terms <- drop.scope(full$fit)
  list(n = nrow(full$fit$model), coef = table_of(full$b, full$v), theta = full$theta, se_theta = full$se, loglik = full$ll,
    aic = -2 * full$ll + 2 * (full$df + 1), deviance = full$deviance, df_residual = nrow(full$fit$model) - full$df,
    lrt_drop1_theta_reestimated = setNames(lapply(terms, function(t) {
      small <- nb(update(f, paste("~ . -", t)), data[rownames(full$fit$model), ])
      s <- 2 * (full$ll - small$ll); list(statistic = s, df = full$df - small$df, p = pchisq(s, full$df - small$df, lower.tail = FALSE))
    }), gsub("\\barm\\b", "the arm", gsub("\\bage\\b", "base.line age", terms))),
    lrt_vs_poisson = list(statistic = 2 * (full$ll - as.numeric(logLik(po)))))
}
separated <- function(f, data) { fit <- suppressWarnings(glm(f, binomial, data, control = exactly)); list(deviance = fit$deviance) }
answers <- list(
  "logistic, product, unused level, sites" = described(sick ~ arm * age + zone + sex, binomial(), d, "site"),
  # `twice` is a combination of the others: left out here, aliased there
  "logistic, aliased, clusters over countries" = described(sick ~ age + sex, binomial(), d, "sex"),
  "logistic, far from zero" = described(sick ~ shift + arm, binomial(), d),
  "logistic, no term" = described(sick ~ 1, binomial(), d),
  "poisson, one term, offset" = described(falls ~ arm + offset(log(kept)), poisson(), d, "country"),
  "quasipoisson" = described(falls ~ sex + age, quasipoisson(), d),
  "gamma, offset" = described(days ~ arm + age + offset(log(kept)), Gamma(link = "log"), d, "site"),
  "gaussian" = described(score ~ arm * sex + age, gaussian(), d, "country"),
  "negative binomial, one term" = counted(wet ~ arm, d),
  "negative binomial, offset" = counted(wet ~ arm * sex + age + offset(log(kept)), d),
  "separated" = separated(sick ~ sex + arm, d[d$country == "BB", ]),
  # no event in FF: its coefficient runs away, the others are those without it
  "a country without events" = described(sick ~ arm + age + country, binomial(), droplevels(d[d$country != "FF", ]), robust = FALSE)
)
writeLines(json(answers), "glm_answers.json")
