## MMRM and mixed models of the repeated laboratory values of survival::pbcseq, at the exact optimum.
## Writes data/*.csv, case.json and expected.json beside itself: Rscript analysis.R
suppressMessages({library(survival); library(lme4); library(jsonlite)})

## --- rows: albumin at visits by windows of days, patients dealt to five made-up countries by their number
d <- pbcseq
windows <- list("Month 6"=c(90, 270), "Month 12"=c(271, 540), "Month 24"=c(550, 910), "Month 36"=c(915, 1280))
base <- d[d$day == 0, c("id", "albumin", "bili")]
names(base) <- c("id", "BASE", "BILI")
rows <- do.call(rbind, lapply(names(windows), function(v) {
  w <- windows[[v]]; x <- d[d$day >= w[1] & d$day <= w[2], ]
  x <- x[order(x$id, abs(x$day - mean(w))), ]; x <- x[!duplicated(x$id), ]
  data.frame(id=x$id, AVISIT=v, AVAL=x$albumin, trt=x$trt, sex=x$sex, age=round(x$age, 2), ascites=x$ascites)
}))
rows <- merge(rows, base, by="id")
levels_country <- c("NO", "SE", "DK", "FI", "IS")
rows$country <- c("NO", "SE", "DK", "FI", "IS", "NO", "SE", "DK", "NO", "NO", "SE", "DK")[rows$id %% 12 + 1]
rows$USUBJID <- sprintf("PBC-%03d", rows$id)
rows$TRTP <- ifelse(rows$trt == 1, "D-penicillamine", "Placebo")
rows$SEX <- ifelse(rows$sex == "f", "F", "M")
rows$CHG <- round(rows$AVAL - rows$BASE, 3)
rows <- rows[order(rows$id, match(rows$AVISIT, names(windows))), ]
rows <- rows[, c("country", "USUBJID", "TRTP", "AVISIT", "SEX", "age", "BASE", "BILI", "CHG")]
names(rows)[6] <- "AGE"
dir.create("data", showWarnings=FALSE)
for (k in levels_country)
  write.csv(rows[rows$country == k, ], file.path("data", paste0(k, ".csv")), row.names=FALSE, quote=FALSE, na="")
rows <- do.call(rbind, lapply(levels_country, function(k) read.csv(file.path("data", paste0(k, ".csv")))))
d <- transform(rows, country=factor(country, levels_country), TRTP=factor(TRTP, c("Placebo", "D-penicillamine")),
               AVISIT=factor(AVISIT, names(windows)), SEX=factor(SEX, c("F", "M")))

## --- (restricted) likelihood with V = sum of theta_k V_k, by blocks of independent records; Newton to the end
newton <- function(X, y, blocks, slopes, theta, reml=TRUE) {
  q <- length(theta); N <- length(y); p <- ncol(X)
  sums <- function(theta) {
    XVX <- matrix(0, p, p); XVy <- numeric(p); yVy <- 0; ld <- 0; inv <- list()
    for (b in seq_along(blocks)) {
      i <- blocks[[b]]; V <- Reduce(`+`, Map(`*`, theta, slopes(b)))
      Vi <- chol2inv(chol(V)); inv[[b]] <- Vi
      XVX <- XVX + t(X[i, , drop=FALSE]) %*% Vi %*% X[i, , drop=FALSE]
      XVy <- XVy + t(X[i, , drop=FALSE]) %*% Vi %*% y[i]
      yVy <- yVy + drop(t(y[i]) %*% Vi %*% y[i]); ld <- ld + 2*sum(log(diag(chol(V))))
    }
    C <- solve(XVX); beta <- drop(C %*% XVy)
    quad <- yVy - sum(XVy * beta)
    ll <- if (reml) -0.5*(ld + as.numeric(determinant(XVX)$modulus) + quad + (N - p)*log(2*pi)) else -0.5*(ld + quad + N*log(2*pi))
    list(C=C, beta=beta, ll=ll, inv=inv)
  }
  deriv <- function(s) {
    P1 <- array(0, c(p, p, q)); g <- numeric(q); eVVe <- trVV <- matrix(0, q, q); g1 <- matrix(0, p, q)
    Q <- array(0, c(p, p, q, q))
    r <- y - drop(X %*% s$beta)
    for (b in seq_along(blocks)) {
      i <- blocks[[b]]; Vi <- s$inv[[b]]; S <- slopes(b); Xi <- X[i, , drop=FALSE]; e <- Vi %*% r[i]
      A <- lapply(S, function(Va) Vi %*% Va)
      for (a in seq_len(q)) {
        P1[, , a] <- P1[, , a] + t(Xi) %*% A[[a]] %*% Vi %*% Xi
        g[a] <- g[a] - 0.5*sum(diag(A[[a]])) + 0.5*drop(t(e) %*% S[[a]] %*% e)
        g1[, a] <- g1[, a] + t(Xi) %*% A[[a]] %*% e
        for (c in seq_len(q)) {
          trVV[a, c] <- trVV[a, c] + sum(A[[a]] * t(A[[c]]))
          eVVe[a, c] <- eVVe[a, c] + drop(t(e) %*% S[[a]] %*% Vi %*% S[[c]] %*% e)
          Q[, , a, c] <- Q[, , a, c] + t(Xi) %*% A[[a]] %*% A[[c]] %*% Vi %*% Xi
        }
      }
    }
    obs <- eVVe - t(g1) %*% s$C %*% g1 - 0.5*trVV
    if (reml) for (a in seq_len(q)) {
      g[a] <- g[a] + 0.5*sum(s$C * P1[, , a])
      for (c in seq_len(q))
        obs[a, c] <- obs[a, c] + sum(s$C * Q[, , a, c]) - 0.5*sum((s$C %*% P1[, , a] %*% s$C) * P1[, , c])
    }
    list(g=g, obs=obs, P1=P1, Q=Q)
  }
  s <- sums(theta)
  for (it in 1:60) {
    D <- deriv(s); step <- solve(D$obs, D$g)
    repeat {
      s2 <- try(sums(theta + step), silent=TRUE)
      if (!inherits(s2, "try-error") && s2$ll > s$ll - 1e-9) break
      step <- step/2; if (max(abs(step)) < 1e-14) break
    }
    theta <- theta + step; s <- sums(theta)
    if (max(abs(step/theta)) < 1e-13) break
  }
  c(s, deriv(s), list(theta=theta, N=N, p=p))
}
key <- function(n) {
  for (f in names(Filter(is.factor, d))) n <- gsub(paste0("(^|:)", f), paste0("\\1", f, "="), n)
  n
}
matrix_of <- function(m, r) list(rows=r, cols=r, values=unname(lapply(seq_len(nrow(m)), function(i) unname(m[i, ]))))

## --- MMRM
mmrm <- function(formula, subject, visit, arm, control) {
  X <- model.matrix(formula, d); y <- model.response(model.frame(formula, d)); m <- nlevels(d[[visit]])
  v <- as.integer(d[[visit]]); id <- factor(d[[subject]], unique(d[[subject]])); blocks <- split(seq_along(y), id)
  idx <- which(upper.tri(diag(m), TRUE), arr.ind=TRUE); idx <- idx[order(idx[, 1], idx[, 2]), ]; q <- nrow(idx)
  E <- lapply(seq_len(q), function(k) { e <- matrix(0, m, m); e[idx[k, 1], idx[k, 2]] <- e[idx[k, 2], idx[k, 1]] <- 1; e })
  cache <- lapply(blocks, function(i) lapply(E, function(e) e[v[i], v[i], drop=FALSE]))
  r <- residuals(lm(formula, d)); wide <- matrix(NA, nlevels(id), m); wide[cbind(as.integer(id), v)] <- r
  S0 <- cov(wide, use="pairwise.complete.obs")
  f <- newton(X, y, blocks, function(b) cache[[b]], S0[idx])
  W <- solve(f$obs); C <- f$C; lambda <- matrix(0, f$p, f$p)
  for (a in seq_len(q)) for (b in seq_len(q)) lambda <- lambda + W[a, b]*(f$Q[, , a, b] - f$P1[, , a] %*% C %*% f$P1[, , b])
  CA <- C + 2*C %*% lambda %*% C
  test <- function(l) {
    est <- sum(l*f$beta); v <- drop(t(l) %*% C %*% l); g <- apply(f$P1, 3, function(P) drop(t(l) %*% C %*% P %*% C %*% l))
    df <- 2*v^2/drop(t(g) %*% W %*% g); se <- sqrt(v); t <- est/se; kr <- sqrt(drop(t(l) %*% CA %*% l)); r <- f$N - f$p
    list(estimate=est, se=se, t=t, df_satterthwaite=df, p_satterthwaite=2*pt(-abs(t), df),
         ci95_satterthwaite_lower=est - qt(.975, df)*se, ci95_satterthwaite_upper=est + qt(.975, df)*se,
         se_kenward_roger_linear=kr, p_kenward_roger_linear=2*pt(-abs(est/kr), df),
         df_residual_nlme=r, p_residual_df=2*pt(-abs(t), r), p_normal=2*pnorm(-abs(t)))
  }
  means <- function(weights) {
    others <- setdiff(names(Filter(is.factor, model.frame(formula, d))), c(arm, visit))
    numbers <- setdiff(all.vars(formula)[-1], c(others, arm, visit))
    line <- function(a, w) {
      grid <- expand.grid(c(setNames(list(a), arm), setNames(list(w), visit), lapply(d[others], levels)), stringsAsFactors=FALSE)
      for (n in numbers) grid[[n]] <- mean(d[[n]])
      share <- rep(1, nrow(grid))
      for (o in others) {
        own <- if (weights == "equal") rep(1/nlevels(d[[o]]), nlevels(d[[o]])) else as.numeric(prop.table(table(d[[o]])))
        share <- share*own[match(grid[[o]], levels(d[[o]]))]
      }
      for (n in names(grid)) if (is.factor(d[[n]])) grid[[n]] <- factor(grid[[n]], levels(d[[n]]))
      colSums(share * model.matrix(formula[-2], grid))
    }
    out <- list()
    for (w in levels(d[[visit]])) {
      L <- lapply(setNames(nm=levels(d[[arm]])), function(a) line(a, w))
      out[[paste0(visit, "=", w)]] <- list(means=lapply(L, test),
        difference_vs_control=lapply(L[setdiff(names(L), control)], function(l) test(l - L[[control]])))
    }
    out
  }
  S <- matrix(0, m, m); S[idx] <- f$theta; S <- S + t(S) - diag(diag(S)); k <- key(colnames(X)); ll <- f$ll
  numbers <- intersect(all.vars(formula)[-1], names(Filter(is.numeric, d)))
  list(n_records=f$N, n_subjects=nlevels(id), records_per_visit=as.list(table(d[[visit]])),
       covariate_means_over_records=lapply(setNames(nm=numbers), function(n) mean(d[[n]])),
       fixed=setNames(lapply(seq_len(f$p), function(j) test(as.numeric(seq_len(f$p) == j))), k), vcov_beta=matrix_of(C, k),
       sigma_matrix=matrix_of(S, levels(d[[visit]])), correlation=matrix_of(cov2cor(S), levels(d[[visit]])),
       loglik_reml=ll, minus2_reml=-2*ll, aic_reml_fixed_plus_cov_nlme=-2*ll + 2*(f$p + q), aic_reml_cov_only_sas_mmrm=-2*ll + 2*q,
       ls_means_equal_weights=means("equal"), ls_means_proportional_weights=means("proportional"))
}

## --- random intercepts
coef_z <- function(f, k) setNames(lapply(seq_len(f$p), function(j) {
  b <- f$beta[[j]]; se <- sqrt(f$C[j, j]); z <- b/se
  list(estimate=b, se=se, z=z, p=2*pnorm(-abs(z)), ci95_lower=b - qnorm(.975)*se, ci95_upper=b + qnorm(.975)*se)
}), k)
## lmer stops at about 1e-5; from there Newton's method goes on to the end
start_of <- function(formula, names, reml) {
  v <- as.data.frame(VarCorr(lmer(formula, d, REML=reml, control=lmerControl(optCtrl=list(ftol_abs=1e-14, xtol_abs=1e-12)))))
  v$vcov[match(names, v$grp)]
}
lmm <- function(formula, group) {
  X <- model.matrix(formula, d); y <- model.response(model.frame(formula, d)); blocks <- split(seq_along(y), d[[group]])
  cache <- lapply(blocks, function(i) list(diag(length(i)), matrix(1, length(i), length(i)))); k <- key(colnames(X))
  one <- function(reml) {
    f <- newton(X, y, blocks, function(b) cache[[b]], start_of(update(formula, paste("~ . + (1 |", group, ")")), c("Residual", group), reml), reml); s2 <- f$theta[1]; t2 <- f$theta[2]
    r <- y - drop(X %*% f$beta); n <- lengths(blocks)
    list(fixed=coef_z(f, k), sigma2=s2, sigma=sqrt(s2), tau2_country=t2, tau_country=sqrt(t2), icc=t2/(t2 + s2), loglik=f$ll,
         aic=-2*f$ll + 2*(f$p + 2), bic=-2*f$ll + log(f$N)*(f$p + 2), vcov=matrix_of(f$C, k),
         blup=as.list(sapply(blocks, function(i) t2*sum(r[i])/(s2 + length(i)*t2))), blup_cond_sd=as.list(sqrt(t2*s2/(s2 + n*t2))))
  }
  ml <- one(FALSE); stat <- 2*(ml$loglik - as.numeric(logLik(lm(formula, d))))
  list(n=length(y), groups=length(blocks), REML=one(TRUE), ML=ml,
       lrt_random_intercept_ML=list(statistic=stat, p_half_chi2_1=.5*pchisq(stat, 1, lower.tail=FALSE)))
}
nested <- function(formula, group, subject) {
  X <- model.matrix(formula, d); y <- model.response(model.frame(formula, d)); blocks <- split(seq_along(y), d[[group]])
  cache <- lapply(blocks, function(i) list(diag(length(i)), matrix(1, length(i), length(i)), outer(d[[subject]][i], d[[subject]][i], "==")*1))
  f <- newton(X, y, blocks, function(b) cache[[b]], start_of(update(formula, paste0("~ . + (1 | ", group, ") + (1 | ", subject, ")")), c("Residual", group, subject), TRUE)); k <- key(colnames(X))
  list(n=length(y), groups=length(blocks), subjects=length(unique(d[[subject]])),
       REML=list(fixed=coef_z(f, k), tau2_country=f$theta[2], tau2_subject=f$theta[3], sigma2=f$theta[1], loglik=f$ll, vcov=matrix_of(f$C, k)))
}
expected <- list(
  mmrm=mmrm(CHG ~ TRTP*AVISIT + BASE*AVISIT + country + SEX + AGE, "USUBJID", "AVISIT", "TRTP", "Placebo"),
  lmm=lmm(BILI ~ TRTP + AGE + SEX, "country"),
  nested=nested(CHG ~ TRTP + BASE + AVISIT, "country", "USUBJID"))
write_json(expected, "expected.json", auto_unbox=TRUE, digits=NA, pretty=FALSE, null="null")

reference <- list(TRTP="Placebo", AVISIT="Month 6", SEX="F", country="NO")
case <- list(id="t30_mixed_pbcseq", title="Mayo PBC, repeated laboratory values: MMRM, random intercepts of country and of subjects",
  description="Change of albumin at four visits; visits and countries are made up; expected.json is made by analysis.R.",
  source="survival::pbcseq (Murtaugh et al. 1994)", licence="LGPL-2+ R package data",
  countries=lapply(levels_country, function(k) list(country=k, table="main", file=paste0("data/", k, ".csv"), rows=sum(d$country == k))),
  csv="UTF-8, comma, header row, decimal point, empty field = missing; every file has a constant column `country`",
  variables=list(USUBJID=list(type="string", description="subject"),
    TRTP=list(type="factor", description="treatment", levels=levels(d$TRTP)), AVISIT=list(type="factor", description="visit", levels=levels(d$AVISIT)),
    SEX=list(type="factor", description="sex", levels=levels(d$SEX)), AGE=list(type="numeric", description="age", unit="years"),
    BASE=list(type="numeric", description="albumin at baseline", unit="g/dl"), BILI=list(type="numeric", description="bilirubin at baseline", unit="mg/dl"),
    CHG=list(type="numeric", description="change of albumin", unit="g/dl"),
    country=list(type="factor", description="made-up country", levels=levels_country)),
  tolerances=list(list(pattern="df_satterthwaite|p_satterthwaite|ci95_satterthwaite|kenward_roger", rtol=1e-6)), vendor=TRUE,
  plan=list(
    list(at=I("mmrm"), method="mmrm", table="main", outcome="CHG", terms=c("TRTP", "AVISIT", "BASE", "country", "SEX", "AGE", "TRTP:AVISIT", "AVISIT:BASE"),
         reference=reference, subject="USUBJID", visit="AVISIT", arm="TRTP", control="Placebo", covariance="unstructured", estimation="REML"),
    list(at=I("lmm"), method="lmm_random_intercept", table="main", outcome="BILI", terms=c("TRTP", "AGE", "SEX"),
         reference=reference[c("TRTP", "SEX")], group="country"),
    list(at=I("nested"), method="lmm_nested", table="main", outcome="CHG", terms=c("TRTP", "BASE", "AVISIT"),
         reference=reference[c("TRTP", "AVISIT")], group="country", subject="USUBJID")))
write_json(case, "case.json", auto_unbox=TRUE, pretty=TRUE, null="null")
cat(nrow(d), "records\n"); print(with(d, table(country, AVISIT)))
