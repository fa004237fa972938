# Times of 0, with events and censored rows at them, on the rows of ../../reference/p26_cif_mgus2 -> fine_gray_answers.json
# (cmprsk 2.2.11). Run once: Rscript fine_gray.R
suppressMessages(library(cmprsk))
folder <- "../../reference/p26_cif_mgus2/data"
d <- do.call(rbind, lapply(c("AT", "BE", "CZ", "DK"), function(x) read.csv(file.path(folder, paste0(x, ".csv")))))
d <- d[complete.cases(d[c("etime", "event", "age", "sex", "hgb", "mspike")]), ]
d$etime <- pmax(d$etime - 20, 0)
f <- crr(d$etime, d$event, cbind(d$age - 70, d$sex == "M"), failcode = 1, cencode = 0, gtol = 1e-12)
stopifnot(f$converged)
se <- sqrt(diag(f$var))
one <- function(k) sprintf("{\"estimate\": %.17g, \"se\": %.17g}", f$coef[[k]], se[[k]])
writeLines(sprintf("{\"coef\": {\"age\": %s, \"sex=M\": %s},\n\"loglik\": %.17g}", one(1), one(2), f$loglik), "fine_gray_answers.json")
