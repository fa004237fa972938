# Makes expected.json from the rows of ../p11_km_lung. Run in this folder: Rscript analysis.R
# The maximum itself: ordinal::clm with its tightest stopping rule. Numbers with 17 significant digits.
library(ordinal)
countries <- c("DK", "NO", "FI", "IS", "SE")
d <- do.call(rbind, lapply(countries, function(cc)
  read.csv(file.path("..", "p11_km_lung", "data", paste0(cc, ".csv")), na.strings = "")))
d$ph.ecog <- ordered(as.character(d$ph.ecog), levels = c("0", "1", "2", "3"))
d$country <- factor(d$country, levels = countries)

json <- function(x) {
  if (is.list(x)) return(paste0("{", paste0("\"", names(x), "\": ", vapply(x, json, ""), collapse = ", "), "}"))
  if (is.character(x) && length(x) == 1) return(paste0("\"", x, "\""))
  if (is.matrix(x)) return(paste0("[", paste0(apply(x, 1, function(r) paste0("[", paste0(formatC(r, digits = 17, format = "g"), collapse = ", "), "]")), collapse = ", "), "]"))
  if (is.character(x)) return(paste0("[", paste0("\"", x, "\"", collapse = ", "), "]"))
  if (is.integer(x)) return(format(x))
  formatC(x, digits = 17, format = "g")
}
key <- function(names) {
  names <- gsub("^sex(female|male)", "sex=\\1", names)
  gsub("^country", "country=", names)
}
answer <- function(formula, d) {
  d <- d[complete.cases(d[, all.vars(formula)]), ]
  tight <- clm.control(gradTol = 1e-13, maxIter = 200, maxLineIter = 60)
  fit <- clm(formula, data = d, control = tight)
  V <- vcov(fit); b <- coef(fit); se <- sqrt(diag(V)); z <- b / se; q <- qnorm(0.975)
  block <- function(at) setNames(lapply(at, function(k) list(estimate = b[[k]], se = se[[k]], z = z[[k]],
    p = 2 * pnorm(-abs(z[[k]])), ci95_lower = b[[k]] - q * se[[k]], ci95_upper = b[[k]] + q * se[[k]])), key(names(b)[at]))
  cuts <- length(fit$alpha)
  labels <- attr(terms(formula), "term.labels")
  orders <- attr(terms(formula), "order")
  inside <- sapply(labels, function(l) any(sapply(labels[labels != l], function(m) all(strsplit(l, ":")[[1]] %in% strsplit(m, ":")[[1]]))))
  drop <- lapply(labels[!inside], function(l) {
    small <- clm(update(formula, paste(". ~ . -", l)), data = d, control = tight)
    lr <- 2 * (as.numeric(logLik(fit)) - as.numeric(logLik(small))); df <- length(b) - length(coef(small))
    list(statistic = lr, df = as.integer(df), p = pchisq(lr, df, lower.tail = FALSE))
  })
  list(n = nrow(d), category_counts = lapply(split(d$ph.ecog, d$ph.ecog), length),
       sign_convention = "logit P(Y<=j) = threshold_j - x'beta (MASS::polr, ordinal::clm)",
       coef = block(cuts + seq_along(fit$beta)), thresholds = block(seq_len(cuts)),
       vcov = list(rows = key(rownames(V)), cols = key(rownames(V)), values = unname(V)),
       loglik = as.numeric(logLik(fit)), aic = AIC(fit), lrt_drop1 = setNames(drop, labels[!inside]))
}
adjusted <- within(d, sex <- factor(sex, levels = c("male", "female")))
crossed <- within(d, sex <- factor(sex, levels = c("female", "male")))
writeLines(json(list(adjusted = answer(ph.ecog ~ sex + age + country, adjusted),
                     interaction = answer(ph.ecog ~ sex + age + wt.loss + sex:age, crossed))), "expected.json")
