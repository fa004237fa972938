# Makes expected.json from the rows of ../p09_gamma_mgus2. Run in this folder: Rscript analysis.R
# Needs the packages car, emmeans, sandwich, jsonlite.
suppressMessages({library(car); library(emmeans); library(sandwich)})
options(contrasts = c("contr.treatment", "contr.poly"))
countries <- c("AT", "BE", "CZ", "DK")
d <- do.call(rbind, lapply(countries, function(cc) read.csv(file.path("..", "p09_gamma_mgus2", "data", paste0(cc, ".csv")))))
d$country <- factor(d$country, countries)
d$sex <- factor(d$sex, c("F", "M"))
d$old <- as.numeric(d$age >= 70)
d$young <- as.numeric(d$age < 70)

key <- function(name) {
  one <- function(part) {
    for (f in c("country", "sex")) if (startsWith(part, f)) return(paste0(f, "=", substring(part, nchar(f) + 1)))
    part
  }
  vapply(strsplit(name, ":"), function(parts) paste(vapply(parts, one, ""), collapse = ":"), "")
}
coefs <- function(b, v, df) {
  se <- sqrt(diag(v)[names(b)])
  out <- lapply(names(b), function(n) {
    e <- b[[n]]; s <- se[[n]]
    list(estimate = e, se = s, t = e / s, p = 2 * pt(-abs(e / s), df), ci95_lower = e - qt(.975, df) * s, ci95_upper = e + qt(.975, df) * s)
  })
  setNames(out, key(names(b)))
}
types <- function(a) {
  a <- as.data.frame(a); a <- a[rownames(a) != "Residuals", ]
  setNames(lapply(seq_len(nrow(a)), function(i) list(ss = a[i, "Sum Sq"], df = a[i, "Df"], F = a[i, "F value"], p = a[i, "Pr(>F)"])), rownames(a))
}
means <- function(fit, arm, control, weights) {
  m <- emmeans(fit, arm, weights = weights, cov.keep = character(0), nesting = NULL)
  s <- as.data.frame(summary(m, infer = c(TRUE, FALSE)))
  k <- which(levels(fit$model[[arm]]) == control)
  diff <- as.data.frame(summary(contrast(m, "trt.vs.ctrl", ref = k), adjust = "none", infer = c(TRUE, TRUE)))
  others <- setdiff(as.character(s[[arm]]), control)
  list(means = setNames(lapply(seq_len(nrow(s)), function(i) list(estimate = s$emmean[i], se = s$SE[i], df = s$df[i],
         ci95_lower = s$lower.CL[i], ci95_upper = s$upper.CL[i])), as.character(s[[arm]])),
       difference_vs_control = setNames(lapply(seq_len(nrow(diff)), function(i) list(estimate = diff$estimate[i], se = diff$SE[i],
         df = diff$df[i], stat = diff$t.ratio[i], p = diff$p.value[i], ci95_lower = diff$lower.CL[i], ci95_upper = diff$upper.CL[i])), others))
}
model <- function(rows, formula, arm, control, cluster, sums = TRUE) {
  rows <- droplevels(rows[complete.cases(rows[all.vars(formula)]), ])
  fit <- eval(bquote(lm(.(formula), data = rows)))
  s <- summary(fit); df <- fit$df.residual; b <- coef(fit)[!is.na(coef(fit))]
  v <- vcov(fit, complete = FALSE)
  out <- list(n = nobs(fit), coef = coefs(b, v, df), sigma = s$sigma, df_residual = df, r_squared = s$r.squared,
              adj_r_squared = s$adj.r.squared,
              f_overall = list(F = s$fstatistic[[1]], df1 = s$fstatistic[[2]], df2 = s$fstatistic[[3]],
                               p = pf(s$fstatistic[[1]], s$fstatistic[[2]], s$fstatistic[[3]], lower.tail = FALSE)),
              rss = sum(residuals(fit)^2), loglik = c(logLik(fit)), aic = AIC(fit), bic = BIC(fit))
  out$type2 <- types(Anova(fit, type = 2))
  if (sums) {
    coded <- lapply(Filter(function(x) is.factor(rows[[x]]), all.vars(formula)), function(x) "contr.sum")
    names(coded) <- Filter(function(x) is.factor(rows[[x]]), all.vars(formula))
    out$type3 <- types(Anova(eval(bquote(lm(.(formula), data = rows, contrasts = .(coded)))), type = 3))
    out$vcov <- list(rows = key(names(b)), cols = key(names(b)), values = unname(v))
  }
  out$robust <- setNames(lapply(c("HC0", "HC1", "HC3"), function(h) coefs(b, vcovHC(fit, h), df)), c("HC0", "HC1", "HC3"))
  g <- if (!is.null(cluster)) rows[[cluster]]
  if (!is.null(g)) out$robust_cluster <- list(cluster = cluster, CR0 = coefs(b, vcovCL(fit, g, type = "HC0", cadjust = FALSE), df),
                             CR1 = coefs(b, vcovCL(fit, g, type = "HC1", cadjust = TRUE), df))
  if (!is.null(arm)) {
    out$ls_means_equal_weights <- means(fit, arm, control, "equal")
    out$ls_means_proportional_weights <- means(fit, arm, control, "proportional")
  }
  out
}
emm_options(emmeans = list(), msg.interaction = FALSE)
answer <- list(
  interactions = model(d, creat ~ age + sex + country + hgb + sex:country + sex:hgb, "sex", "F", "country"),
  unused_levels = model(d[d$country %in% c("BE", "CZ"), ], hgb ~ country + sex + age + country:age, "country", "CZ", "sex"),
  aliased = model(d, mspike ~ sex + old + young + country, "sex", "M", "country", sums = FALSE),
  three_way = model(d, hgb ~ sex + country + old + sex:country + sex:old + country:old + sex:country:old, "country", "DK", NULL))
writeLines(jsonlite::toJSON(answer, auto_unbox = TRUE, digits = NA, na = "null", null = "null"), "expected.json")
