# What R gives for the rows of cox_*.csv without strata(country) -> cox_pooled_answers.json. Run once: Rscript cox_pooled.R
source("cox_shared.R")
answers <- list()
arm <- c("control", "low", "high"); sex <- c("f", "m")
d <- rows("ties", list(arm = arm, sex = sex, country = c("AA", "BB", "CC", "DD")))
for (ties in c("efron", "breslow")) {
  f <- coxph(Surv(time, event) ~ arm + age + marker + strata(sex), d, ties = ties, control = tight)
  r <- coxph(Surv(time, event) ~ arm + age + marker + strata(sex), d, ties = ties, control = tight, cluster = site)
  e <- coxph(Surv(time, event) ~ arm + age + marker + strata(sex), d, ties = ties, control = tight, robust = TRUE)
  k <- coxph(Surv(time, event) ~ arm + age + marker + strata(sex), d, ties = ties, control = tight, cluster = country)
  answers$ties[[ties]] <- c(block(f), list(robust = robust(r), each_row = robust(e), by_country = list(se = robust(k)$se),
                                         concordance = agree(f), cox_zph = zph(f), baseline = hazard(f)))
  # age, from 36 to 87, also stands for a weight that changes from row to row
  w <- d[!is.na(d$age), ]
  for (more in c("plain", "country")) {
    formula <- if (more == "plain") Surv(time, event) ~ arm + marker else Surv(time, event) ~ arm + marker + country
    f <- coxph(formula, w, ties = ties, control = tight, weights = age)
    e <- coxph(formula, w, ties = ties, control = tight, weights = age, robust = TRUE)
    k <- coxph(formula, w, ties = ties, control = tight, weights = age, cluster = country)
    h <- basehaz(f, centered = FALSE); h <- h[diff(c(0, h$hazard)) > 0, ]
    answers$weights[[ties]][[more]] <- c(block(f), list(each_row = robust(e), by_country = list(se = robust(k)$se),
                                                      baseline = list(time = h$time, cumhaz = h$hazard)))
  }
  f <- coxph(Surv(time, event) ~ arm + marker + strata(country), w, ties = ties, control = tight, weights = age)
  e <- coxph(Surv(time, event) ~ arm + marker + strata(country), w, ties = ties, control = tight, weights = age, robust = TRUE)
  answers$weights[[ties]]$stratified <- c(block(f), list(each_row = robust(e)))
}
d <- rows("entry", list(arm = arm, sex = sex))
for (ties in c("efron", "breslow")) {
  f <- coxph(Surv(start, time, event) ~ arm + age + sex + dose, d, ties = ties, control = tight)
  r <- coxph(Surv(start, time, event) ~ arm + age + sex + dose, d, ties = ties, control = tight, cluster = id)
  answers$entry[[ties]] <- c(block(f), list(robust = robust(r), concordance = agree(f), cox_zph = zph(f)))
}
d <- rows("edges", list(arm = arm, sex = sex, country = c("AA", "BB", "CC", "DD", "EE", "FF")))
f <- coxph(Surv(time, event) ~ arm + age + sex, d, control = tight)
answers$edges$efron <- block(f)
d <- rows("alias", list(arm = arm, sex = sex, stage = c("I", "II", "III", "IV")))
d$time <- round(d$time)  # on the grid
f <- coxph(Surv(time, event) ~ stage + age + marker + sum + arm * sex, d, control = tight)
answers$alias$efron <- block(f)
write(json(answers), "cox_pooled_answers.json")
