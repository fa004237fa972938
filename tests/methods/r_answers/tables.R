# Tables with zeros and strata that say little -> tables_answers.json. Run once: Rscript tables.R
two <- list(c(0, 8, 5, 4), c(7, 0, 3, 9), c(0, 5, 0, 6), c(4, 0, 6, 0), c(1, 0, 0, 1), c(3, 11, 13, 2), c(120, 4880, 85, 4915))
crossed <- list(list(2, c(3, 0, 1, 5, 2, 2)), list(3, c(10, 2, 0, 4, 6, 1, 0, 3, 9, 2, 2, 2)), list(4, c(4, 1, 1, 0, 1, 6, 0, 2, 2, 0, 5, 1, 1, 3, 1, 7)),
  list(2, c(40, 22, 31, 35, 8, 19, 12, 3)), list(3, c(61, 50, 44, 70, 81, 66, 30, 22, 41)))
# 2 x 2 x K, by stratum: treated event, control event, treated none, control none
strata <- list(
  zero_cells = c(0, 3, 9, 8, 5, 2, 6, 7, 4, 0, 3, 9), one_arm = c(5, 0, 7, 0, 6, 3, 8, 9, 2, 4, 6, 1),
  small_deviation = c(5, 5, 5, 5, 4, 4, 6, 5), no_event = c(0, 0, 8, 9, 3, 6, 9, 4, 2, 5, 7, 7))
general <- list(list(c(3, 2, 2), c(4, 2, 6, 3, 8, 1, 7, 2, 5, 5, 1, 9)), list(c(3, 3, 2), c(3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3)),
  list(c(2, 2, 3), c(5, 5, 5, 5, 4, 4, 6, 5, 1, 3, 2, 4)))
num <- function(x) if (is.nan(x) || is.na(x)) NULL else if (is.infinite(x)) (if (x > 0) "Inf" else "-Inf") else x
quiet <- suppressWarnings
answers <- list(
  two = lapply(two, function(v) { x <- matrix(v, 2, byrow = TRUE)
    list(table = v, pearson = num(quiet(chisq.test(x, correct = FALSE))$statistic[[1]]), yates = num(quiet(chisq.test(x))$statistic[[1]]),
      p = fisher.test(x)$p.value, greater = fisher.test(x, alternative = "greater")$p.value, less = fisher.test(x, alternative = "less")$p.value) }),
  crossed = lapply(crossed, function(v) { x <- matrix(v[[2]], v[[1]], byrow = TRUE); list(rows = v[[1]], table = v[[2]], p = fisher.test(x, workspace = 2e7)$p.value) }),
  strata = lapply(strata, function(v) { x <- array(v, c(2, 2, length(v) / 4))
    f <- function(m) quiet(metafor::rma.mh(measure = m, ai = x[1, 1, ], bi = x[1, 2, ], ci = x[2, 1, ], di = x[2, 2, ], correct = FALSE))
    list(table = v, plain = mantelhaen.test(x, correct = FALSE)$statistic[[1]], corrected = mantelhaen.test(x)$statistic[[1]],
      log_or = f("OR")$beta[[1]], se_or = f("OR")$se, log_rr = f("RR")$beta[[1]], se_rr = f("RR")$se, rd = f("RD")$beta[[1]], se_rd = f("RD")$se,
      woolf = vcd::woolf_test(x)$statistic[[1]]) }),
  general = lapply(general, function(v) { x <- array(v[[2]], v[[1]]); t <- mantelhaen.test(x)
    list(shape = v[[1]], table = v[[2]], statistic = t$statistic[[1]], df = t$parameter[[1]]) }))
write(jsonlite::toJSON(answers, auto_unbox = TRUE, digits = I(17), null = "null"), "tables_answers.json")
