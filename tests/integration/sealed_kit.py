"""A sealed study beside the same study in open mode, over the example's four countries."""

from __future__ import annotations

from pathlib import Path

from isthmus_client.demo import COUNTRIES, example_folder
from isthmus_client.proposal import study_from_toml
from isthmus_client.sandbox import Sandbox

PLAN = """
[[plan]]
name = "table-1"
title = "Patients by hormonal therapy"
method = "table_one"
variables = ["age", "meno"]
arm = "hormon"

[[plan]]
name = "withheld"
title = "With a factor of which one country would withhold the counts"
method = "table_one"
variables = ["age", "size"]
arm = "hormon"
missing_country = "fail"

[[plan]]
name = "linear"
title = "Receptor by age"
method = "linear_model"
formula = "pgr ~ hormon + age + meno"

[[plan]]
name = "logistic"
title = "Recurrence or death"
method = "glm"
formula = "status ~ hormon + age + meno + grade"
options = { family = "binomial" }
missing_country = "fail"
deadline_seconds = 60

[[plan]]
name = "cox"
title = "Hazard ratio of hormonal therapy"
method = "cox"
formula = "Surv(rfstime, status) ~ hormon + age"
"""


def study_text(name: str, mode: str) -> str:
    text = (example_folder() / "study.toml").read_text(encoding="utf-8").partition("[[plan]]")[0]
    text = text.replace('name = "BREAST-RFS"', f'name = "{name}"\nmode = "{mode}"', 1)
    return text.replace("by_country = true", "by_country = false", 1) + PLAN


def propose(box: Sandbox, folder: Path, name: str, mode: str) -> str:
    """Have a study of that mode approved by all; its name."""
    path = folder / f"{name}.toml"
    path.write_text(study_text(name, mode), encoding="utf-8")
    with box.connect() as connection:
        connection.propose(study_from_toml(path, connection.participants()))
    box.approve(name, COUNTRIES, "test")
    return name
