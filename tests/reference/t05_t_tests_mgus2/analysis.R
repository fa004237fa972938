# Makes expected.json from the rows of ../p09_gamma_mgus2. Run in this folder: Rscript analysis.R. Needs jsonlite.
countries <- c("AT", "BE", "CZ", "DK")
d <- do.call(rbind, lapply(countries, function(cc) read.csv(file.path("..", "p09_gamma_mgus2", "data", paste0(cc, ".csv")))))
d$country <- factor(d$country, countries)
d$sex <- factor(d$sex, c("F", "M"))
limits <- function(h) list(lower = h$conf.int[1], upper = h$conf.int[2])
two <- function(rows, y, arm, treated, control) {
  x <- rows[[y]][rows[[arm]] == treated]; x <- x[!is.na(x)]
  z <- rows[[y]][rows[[arm]] == control]; z <- z[!is.na(z)]
  of <- function(v) list(n = length(v), mean = mean(v), sd = sd(v))
  tt <- function(equal) { h <- t.test(x, z, var.equal = equal)
    list(t = h$statistic[[1]], df = h$parameter[[1]], p = h$p.value, se = h$stderr, mean_difference = mean(x) - mean(z), ci95 = limits(h)) }
  f <- var.test(x, z)
  w <- suppressWarnings(lapply(c(TRUE, FALSE), function(k) wilcox.test(x, z, exact = FALSE, correct = k)))
  list(treated = of(x), control = of(z), welch = tt(FALSE), pooled = tt(TRUE),
       f_variance_ratio = list(F = f$statistic[[1]], df1 = f$parameter[[1]], df2 = f$parameter[[2]], p = f$p.value, ci95 = limits(f)),
       wilcoxon_normal_approx = list(W = w[[1]]$statistic[[1]], p_continuity = w[[1]]$p.value, p_no_continuity = w[[2]]$p.value))
}
several <- function(rows, y, group) {
  rows <- rows[!is.na(rows[[y]]) & !is.na(rows[[group]]), ]; g <- droplevels(rows[[group]]); v <- rows[[y]]
  a <- summary(aov(v ~ g))[[1]]; w <- oneway.test(v ~ g); k <- kruskal.test(v, g); b <- bartlett.test(v, g)
  list(classic = list(F = a[1, "F value"], df1 = a[1, "Df"], df2 = a[2, "Df"], p = a[1, "Pr(>F)"], ss_between = a[1, "Sum Sq"], ss_within = a[2, "Sum Sq"]),
       welch = list(F = w$statistic[[1]], df1 = w$parameter[[1]], df2 = w$parameter[[2]], p = w$p.value),
       kruskal_wallis = list(statistic = k$statistic[[1]], df = k$parameter[[1]], p = k$p.value),
       bartlett = list(statistic = b$statistic[[1]], df = b$parameter[[1]], p = b$p.value))
}
paired <- function(rows, first, second) {
  ok <- !is.na(rows[[first]]) & !is.na(rows[[second]])
  h <- t.test(rows[[first]][ok], rows[[second]][ok], paired = TRUE)
  list(t = h$statistic[[1]], df = h$parameter[[1]], p = h$p.value, mean = h$estimate[[1]], ci95 = limits(h))
}
answer <- list(hgb_by_sex = two(d, "hgb", "sex", "M", "F"),
  creat_of_two_countries = two(d, "creat", "country", "DK", "CZ"),
  few = two(d[d$age >= 93, ], "mspike", "sex", "F", "M"),
  all_countries = several(d, "mspike", "country"),
  an_unused_level = several(d[d$country != "BE" & d$age < 50, ], "creat", "country"),
  paired = paired(d, "hgb", "mspike"))
writeLines(jsonlite::toJSON(answer, auto_unbox = TRUE, digits = NA, na = "null"), "expected.json")
