# Makes data/ and expected.json from the rows of ../p14_cox_ag_cgd. Run in this folder: Rscript analysis.R
# Subjects: one row an id, exposure to its last day. Events: the infections; class and term are the site's own words here.
countries <- c("US", "CA", "NL", "CH")
all <- do.call(rbind, lapply(countries, function(cc)
  read.csv(file.path("..", "p14_cox_ag_cgd", "data", paste0(cc, ".csv")), na.strings = "")))
last <- tapply(all$tstop, all$id, max)
subjects <- all[!duplicated(all$id), c("country", "id", "treat", "sex")]
subjects$days <- as.integer(last[as.character(subjects$id)])
events <- all[all$status == 1, ]
events <- data.frame(country = events$country, id = events$id, class = events$inherit,
  term = paste(events$sex, ifelse(events$propylac == 1, "with", "without")), serious = ifelse(events$steroids == 1, "Y", "N"),
  day = events$tstop - 20)  # some come before day 1 and are clipped
events$day[seq(9, nrow(events), by = 9)] <- NA  # some are not known
for (kind in c("subjects", "events")) { dir.create(file.path("data", kind), showWarnings = FALSE, recursive = TRUE)
  for (cc in countries) write.csv(get(kind)[get(kind)$country == cc, ], file.path("data", kind, paste0(cc, ".csv")),
    row.names = FALSE, na = "", quote = FALSE) }

arms <- c("placebo", "rIFN-g"); control <- "placebo"; per <- 36525; z <- qnorm(0.975)
N <- sapply(arms, function(a) sum(subjects$treat == a)); days <- sapply(arms, function(a) sum(subjects$days[subjects$treat == a]))
pair <- function(a, b) list(lower = a, upper = b)
poisson <- function(x, t) pair(if (x) qchisq(0.025, 2 * x) / 2 / t * per else 0, qchisq(0.975, 2 * x + 2) / 2 / t * per)
binomial <- function(x, n) pair(if (x) 100 * qbeta(0.025, x, n - x + 1) else 0, if (x < n) 100 * qbeta(0.975, x + 1, n - x) else 100)
at_risk <- function(e) {
  known <- e[!is.na(e$day), ]
  first <- tapply(known$day, known$id, min)
  start <- first[as.character(subjects$id)]
  t <- ifelse(is.na(start), subjects$days, pmin(pmax(start, 1), subjects$days))
  sapply(arms, function(a) sum(t[subjects$treat == a]))
}
counts <- function(e) {
  arm <- subjects$treat[match(e$id, subjects$id)]
  list(x = sapply(arms, function(a) length(unique(e$id[arm == a]))), k = sapply(arms, function(a) sum(arm == a)), t = at_risk(e))
}
by_arm <- function(e) { c <- counts(e); setNames(lapply(arms, function(a) list(
  n_subjects = c$x[[a]], N = N[[a]], percent = 100 * c$x[[a]] / N[[a]], clopper_pearson95_percent = binomial(c$x[[a]], N[[a]]),
  n_events = c$k[[a]], event_rate = c$k[[a]] / days[[a]] * per, event_rate_ci95 = poisson(c$k[[a]], days[[a]]),
  time_at_risk = c$t[[a]], eair = c$x[[a]] / c$t[[a]] * per, eair_ci95 = poisson(c$x[[a]], c$t[[a]]))), arms) }
wilson <- function(x, n) suppressWarnings(prop.test(x, n, correct = FALSE)$conf.int)
versus <- function(e, a) {
  c <- counts(e); x1 <- c$x[[a]]; x0 <- c$x[[control]]; n1 <- N[[a]]; n0 <- N[[control]]; p1 <- x1 / n1; p0 <- x0 / n0
  se <- sqrt(p1 * (1 - p1) / n1 + p0 * (1 - p0) / n0); w1 <- wilson(x1, n1); w0 <- wilson(x0, n0)
  both <- x1 > 0 && x0 > 0
  ratio <- if (both) (x1 / c$t[[a]]) / (x0 / c$t[[control]]) else NA
  s <- z * sqrt(1 / x1 + 1 / x0)
  list(risk_difference = list(estimate = p1 - p0, se_wald = se, wald95 = pair(p1 - p0 - z * se, p1 - p0 + z * se),
      newcombe95 = pair(p1 - p0 - sqrt((p1 - w1[1])^2 + (w0[2] - p0)^2), p1 - p0 + sqrt((w1[2] - p1)^2 + (p0 - w0[1])^2))),
    risk_ratio = if (both) p1 / p0 else NA, fisher_p = fisher.test(matrix(c(x1, x0, n1 - x1, n0 - x0), 2))$p.value,
    eair_ratio = ratio, eair_ratio_ci95 = if (both) pair(ratio * exp(-s), ratio * exp(s)) else pair(NA, NA))
}
block <- function(e) list(by_arm = by_arm(e), vs_control = setNames(lapply(setdiff(arms, control), function(a) versus(e, a)), setdiff(arms, control)))
classes <- sort(unique(events$class))
answer <- list(
  arms = setNames(lapply(arms, function(a) list(N = N[[a]], exposure_days = days[[a]], person_years = days[[a]] / 365.25, exposure_mean = days[[a]] / N[[a]])), arms),
  any_ae = block(events), serious = block(events[events$serious == "Y", ]),
  by_soc = setNames(lapply(classes, function(g) block(events[events$class == g, ])), classes),
  by_soc_pt = setNames(lapply(classes, function(g) { e <- events[events$class == g, ]; t <- sort(unique(e$term))
    setNames(lapply(t, function(k) by_arm(e[e$term == k, ])), t) }), classes))
write(jsonlite::toJSON(list(safety = answer), auto_unbox = TRUE, digits = I(17), na = "null", pretty = TRUE), "expected.json")
