# R's answers on the pooled rows and the seconds it takes to fit; reading the rows is not counted.
# Rscript pooled.R PART FOLDER ANSWER.json
arguments <- commandArgs(trailingOnly = TRUE)
folder <- arguments[2]
column <- function(name) {
  path <- file.path(folder, paste0(name, ".f8"))
  values <- readBin(path, "double", file.size(path) / 8)
  named <- file.path(folder, paste0(name, ".levels"))
  if (!file.exists(named)) return(values)
  levels <- readLines(named)
  factor(levels[values + 1], levels = levels)
}
extra <- function(name) {
  path <- file.path(folder, paste0(name, ".extra"))
  readBin(path, "double", file.size(path) / 8)
}
columns <- readLines(file.path(folder, "columns.txt"))
rows <- as.data.frame(setNames(lapply(columns, column), columns))
covariates <- grep("^X[0-9]+$", columns, value = TRUE)
said <- list()

numbers <- function(x) if (length(x)) paste0("[", paste(sprintf("%.17g", x), collapse = ", "), "]") else "[]"
# seconds of up to three runs, fewer where they are long; `values` is evaluated after them
tell <- function(name, package, fit, values = list()) {
  seconds <- processor <- numeric()
  while (length(seconds) < 3 && sum(seconds) < 4) {
    took <- system.time(fit())
    seconds <- c(seconds, took[["elapsed"]])
    processor <- c(processor, took[["user.self"]] + took[["sys.self"]])
  }
  values <- c(list(seconds = seconds, processor_seconds = processor), values)
  fields <- sprintf('"%s": %s', names(values), vapply(values, numbers, ""))
  version <- sprintf('"version": "%s (R %s)"', packageVersion(package), getRversion())
  said[[length(said) + 1]] <<- sprintf('"%s": {%s}', name, paste(c(version, fields), collapse = ", "))
}
has <- function(package) {
  there <- requireNamespace(package, quietly = TRUE)
  if (there) suppressPackageStartupMessages(library(package, character.only = TRUE))
  there
}

if (arguments[1] == "cox" && has("survival")) {
  model <- as.formula(paste("Surv(DAY, EVENT) ~", paste(covariates, collapse = " + "), "+ strata(COUNTRY)"))
  tight <- coxph(model, data = rows, ties = "efron", control = coxph.control(eps = 1e-14, iter.max = 50))
  tell("R coxph", "survival", function() coxph(model, data = rows, ties = "efron"),
       list(coef = coef(tight), loglik = tight$loglik[2]))
}
if (arguments[1] == "glm") {
  model <- as.formula(paste("RESP ~", paste(covariates, collapse = " + ")))
  tight <- glm(model, data = rows, family = binomial(), control = glm.control(epsilon = 1e-15, maxit = 50))
  tell("R glm", "stats", function() glm(model, data = rows, family = binomial()),
       list(coef = coef(tight), deviance = tight$deviance))
}
if (arguments[1] == "km" && has("survival")) {
  curve <- survfit(Surv(DAY, EVENT) ~ ARM, data = rows)
  test <- survdiff(Surv(DAY, EVENT) ~ ARM + strata(COUNTRY), data = rows)
  tell("R survfit + survdiff", "survival",
       function() {
         survfit(Surv(DAY, EVENT) ~ ARM, data = rows)
         survdiff(Surv(DAY, EVENT) ~ ARM + strata(COUNTRY), data = rows)
       },
       list(survival = curve$surv[curve$n.event > 0], chisq = test$chisq))
}
if (arguments[1] == "mmrm" && has("nlme")) {
  rows$VISIT_NUMBER <- as.integer(rows$VISIT)
  model <- CHG ~ ARM * VISIT + BASE * VISIT + COUNTRY
  visits <- nlevels(rows$VISIT)
  # at Sigma as the exchange found it, where R only has to solve: both are the same function
  Sigma <- matrix(extra("sigma"), visits)
  rows$VARIANCE <- diag(Sigma)[rows$VISIT_NUMBER]
  correlation <- cov2cor(Sigma)
  known <- gls(model, data = rows, method = "REML",
               correlation = corSymm(correlation[lower.tri(correlation)], form = ~ VISIT_NUMBER | PERSON, fixed = TRUE),
               weights = varFixed(~ VARIANCE))
  free <- function() gls(model, data = rows, method = "REML", correlation = corSymm(form = ~ VISIT_NUMBER | PERSON),
                         weights = varIdent(form = ~ 1 | VISIT))
  own <- NULL
  tell("R gls, unstructured", "nlme", function() own <<- free(),
       list(coef = coef(known), loglik = logLik(known), own_coef = coef(own), own_loglik = logLik(own)))
}
if (arguments[1] == "lmm") {
  right <- paste("ARM + SEX +", paste(covariates, collapse = " + "))
  if (has("lme4")) {
    model <- as.formula(paste("Y ~", right, "+ (1 | SITE)"))
    # the REML criterion at the ratio of the variances that the exchange found
    criterion <- lmer(model, data = rows, devFunOnly = TRUE)
    at <- criterion(extra("theta"))
    beta <- environment(criterion)$pp$beta(1)
    own <- NULL
    tell("R lmer", "lme4", function() own <<- lmer(model, data = rows),
         list(coef = beta, loglik = -at / 2, own_coef = fixef(own), own_loglik = logLik(own)))
  }
  if (has("nlme")) {
    model <- as.formula(paste("Y ~", right))
    own <- NULL
    tell("R lme", "nlme", function() own <<- lme(model, random = ~ 1 | SITE, data = rows),
         list(own_coef = fixef(own), own_loglik = logLik(own)))
  }
}
cat("{", paste(said, collapse = ",\n"), "}\n", file = arguments[3])
