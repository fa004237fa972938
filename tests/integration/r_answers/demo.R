# R's answer to the demo's primary analysis, on the pooled file.
#   Rscript tests/integration/r_answers/demo.R > tests/integration/r_answers/demo.json
suppressMessages(library(survival))
countries <- c("NL", "BE", "DE", "AT")
rows <- do.call(rbind, lapply(countries, function(country)
  read.csv(file.path("examples/breast-cancer/data", paste0(country, ".csv")), colClasses = c(country = "character"))))
rows$country <- factor(rows$country, levels = countries)
rows$hormon <- factor(rows$hormon, levels = c(0, 1))
rows$meno <- factor(rows$meno, levels = c(0, 1))
rows$grade <- factor(rows$grade, levels = c(2, 1, 3))
fit <- coxph(Surv(rfstime, status) ~ hormon + age + meno + grade + sqrt(nodes) + strata(country),
             data = rows, ties = "efron", control = coxph.control(eps = 1e-14, iter.max = 50))
number <- function(x) formatC(x, digits = 17, format = "g")
names <- c("hormon=1", "age", "meno=1", "grade=1", "grade=3", "sqrt(nodes)")
lines <- sprintf('  "%s": {"estimate": %s, "se": %s, "hr": %s}',
                 names, number(coef(fit)), number(sqrt(diag(vcov(fit)))), number(exp(coef(fit))))
cat("{\n", sprintf(' "r": "%s, survival %s",\n', R.version.string, packageVersion("survival")),
    sprintf(' "n": %d, "events": %d, "loglik": %s,\n', fit$n, fit$nevent, number(fit$loglik[2])),
    ' "coef": {\n', paste(lines, collapse = ",\n"), "\n }\n}\n", sep = "")
