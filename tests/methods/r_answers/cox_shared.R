# What R's answers about Cox models are written with; read by cox.R and cox_pooled.R.
library(survival)
json <- function(x) {                        # numbers with all their digits
  if (is.list(x)) {
    inner <- vapply(x, json, "")
    if (is.null(names(x))) return(paste0("[", paste(inner, collapse = ", "), "]"))
    return(paste0("{", paste0("\"", names(x), "\": ", inner, collapse = ",\n"), "}"))
  }
  if (is.character(x)) return(paste0("\"", x, "\""))
  one <- ifelse(is.na(x), "null", formatC(x, digits = 17, format = "g", width = 1))
  if (length(x) == 1) one else paste0("[", paste(one, collapse = ", "), "]")
}
tight <- suppressWarnings(coxph.control(eps = 1e-14, iter.max = 60))  # it warns that eps is below toler.chol
rows <- function(name, levels = list()) {
  d <- read.csv(paste0("cox_", name, ".csv"))
  for (v in names(levels)) d[[v]] <- factor(d[[v]], levels = levels[[v]])
  droplevels(d)  # levels without a row vanish
}
key <- function(fit) {                       # "armlow" -> "arm=low", as our names
  out <- names(coef(fit))
  for (v in names(fit$xlevels)) for (l in fit$xlevels[[v]])
    out <- gsub(paste0("(^|:)", v, l, "($|:)"), paste0("\\1", v, "=", l, "\\2"), out)
  out
}
nul <- function(x) lapply(x, function(v) if (is.na(v)) NA else unname(v))
block <- function(fit) {
  k <- key(fit)
  v <- if (is.null(fit$naive.var)) fit$var else fit$naive.var
  se <- sqrt(diag(v)); se[is.na(coef(fit))] <- NA
  p <- sum(!is.na(coef(fit)))
  list(n = fit$n, n_event = fit$nevent, estimate = setNames(nul(coef(fit)), k), se = setNames(nul(se), k),
       loglik_null = fit$loglik[1], loglik = fit$loglik[2], score_test = unname(fit$score), df = p)
}
robust <- function(fit) {
  list(se = setNames(nul(sqrt(diag(fit$var))), key(fit)), robust_wald = unname(fit$wald.test),
       robust_score_test = unname(fit$rscore))
}
agree <- function(fit) {
  c <- concordance(fit)
  k <- colSums(matrix(c$count, ncol = 5)[, 1:3, drop = FALSE])
  list(c = unname(c$concordance), se = unname(sqrt(c$var)), concordant = k[1], discordant = k[2], tied_x = k[3])
}
zph <- function(fit) {
  one <- function(scale) {
    t <- cox.zph(fit, transform = scale)$table
    setNames(lapply(seq_len(nrow(t)), function(i) list(chisq = t[i, 1], df = t[i, 2])), rownames(t))
  }
  list(km = one("km"), identity = one("identity"))
}
hazard <- function(fit) {
  h <- basehaz(fit, centered = FALSE)
  lapply(split(h, h$strata), function(s) { s <- s[diff(c(0, s$hazard)) > 0, ]; list(time = s$time, cumhaz = s$hazard) })
}
