# R's answer on the pooled file, and the seconds it took to fit (reading the file is not counted).
# Rscript pooled.R ANSWER.json FILE.csv...
suppressPackageStartupMessages(library(survival))
arguments <- commandArgs(trailingOnly = TRUE)
rows <- do.call(rbind, lapply(arguments[-1], read.csv))
covariates <- grep("^X[0-9]+$", names(rows), value = TRUE)
model <- as.formula(paste("Surv(DAY, EVENT) ~", paste(covariates, collapse = " + "), "+ strata(COUNTRY)"))
seconds <- system.time(fit <- coxph(model, data = rows, ties = "efron"))[["elapsed"]]
# once more, fully converged, to compare the answers
tight <- coxph(model, data = rows, ties = "efron", control = coxph.control(eps = 1e-14, iter.max = 50))
number <- function(x) paste(sprintf("%.17g", x), collapse = ", ")
km <- system.time({
  survfit(Surv(DAY, EVENT) ~ ARM, data = rows)
  survdiff(Surv(DAY, EVENT) ~ ARM + strata(COUNTRY), data = rows)
})[["elapsed"]]
cat(sprintf('{"seconds": %.4f, "km_seconds": %.4f, "coef": [%s], "loglik": %s}\n',
            seconds, km, number(coef(tight)), number(tight$loglik[2])), file = arguments[1])
