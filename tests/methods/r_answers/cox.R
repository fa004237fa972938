# What R gives for the rows of cox_*.csv -> cox_answers.json. Run once: Rscript cox.R
source("cox_shared.R")
answers <- list()
arm <- c("control", "low", "high"); sex <- c("f", "m")
d <- rows("ties", list(arm = arm, sex = sex))
for (ties in c("efron", "breslow")) {
  f <- coxph(Surv(time, event) ~ arm + age + marker + strata(country, sex), d, ties = ties, control = tight)
  r <- coxph(Surv(time, event) ~ arm + age + marker + strata(country, sex), d, ties = ties, control = tight, cluster = site)
  e <- coxph(Surv(time, event) ~ arm + age + marker + strata(country, sex), d, ties = ties, control = tight, robust = TRUE)
  answers$ties[[ties]] <- c(block(f), list(robust = robust(r), each_row = robust(e), concordance = agree(f),
                                         cox_zph = zph(f), baseline = hazard(f)))
}
d <- rows("entry", list(arm = arm, sex = sex))
for (ties in c("efron", "breslow")) {
  f <- coxph(Surv(start, time, event) ~ arm + age + sex + dose + strata(country), d, ties = ties, control = tight)
  r <- coxph(Surv(start, time, event) ~ arm + age + sex + dose + strata(country), d, ties = ties, control = tight, cluster = id)
  answers$entry[[ties]] <- c(block(f), list(robust = robust(r), concordance = agree(f), cox_zph = zph(f)["identity"]))
}
d <- rows("alias", list(arm = arm, sex = sex, stage = c("I", "II", "III", "IV")))
f <- coxph(Surv(time, event) ~ stage + age + marker + sum + region + arm * sex + strata(country), d, control = tight)
answers$alias$efron <- block(f)
d <- rows("edges", list(arm = arm, sex = sex))
f <- coxph(Surv(time, event) ~ arm + age + sex + strata(country), d, control = tight)
answers$edges$efron <- block(f)
f <- coxph(Surv(time, event) ~ arm + age + strata(country), d[d$country == "CC", ], control = tight)
answers$edges$one_country <- block(f)
f <- withCallingHandlers(coxph(Surv(time, event) ~ arm + exposed + strata(country), d),
                         warning = function(w) { answers$edges$warning <<- conditionMessage(w); invokeRestart("muffleWarning") })
answers$edges$separated <- block(f)
write(json(answers), "cox_answers.json")
