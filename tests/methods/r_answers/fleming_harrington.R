# G-rho tests of the rows of ../../reference/p11_km_lung. Run in this folder: Rscript fleming_harrington.R
library(survival)
countries <- c("DK", "NO", "FI", "IS", "SE")
d <- do.call(rbind, lapply(countries, function(cc)
  read.csv(file.path("..", "..", "reference", "p11_km_lung", "data", paste0(cc, ".csv")), na.strings = "")))
plain <- survdiff(Surv(time, status) ~ sex, data = d, rho = 0.5)
within <- survdiff(Surv(time, status) ~ sex + strata(country), data = d, rho = 0.5)
writeLines(sprintf("{\"rho\": 0.5, \"plain\": %.17g, \"stratified\": %.17g}", plain$chisq, within$chisq),
           "fleming_harrington.json")
