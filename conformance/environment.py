"""A Python environment beside this one, in which more is installed: as a site whose IT brought a client app.

It has all that this environment has, and the three commands; this one stays as it is.
``python -m conformance.environment FOLDER PACKAGE...`` makes one.
"""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

COMMANDS = {
    "isthmus-node": "isthmus_node.cli",
    "isthmus-coordinator": "isthmus_coordinator.cli",
    "isthmus": "isthmus_client.cli",
}


def environment(folder: Path, *packages: str) -> Path:
    """Make the environment and install packages in it.

    Parameters
    ----------
    folder
        Where; anew if it is there.
    packages
        Folders of packages, which are built with what is installed here, or names with a version.

    Returns
    -------
    Path
        Its folder of programs: ``python`` and the three commands.
    """
    subprocess.run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(folder)], check=True)  # noqa: S603
    programs = folder.resolve() / "bin"
    python = programs / "python"
    here = sysconfig.get_path("purelib")
    found = sysconfig.get_path("purelib", vars={"base": str(folder.resolve())})
    # a line that begins with import is run: what is installed here in editable form is then found there too
    Path(found, "beside.pth").write_text(f"import site; site.addsitedir({here!r})\n", encoding="utf-8")
    for name, module in COMMANDS.items():
        script = programs / name
        script.write_text(
            f"#!{python}\nimport sys\nfrom {module} import main\nsys.exit(main())\n",
            encoding="utf-8",
        )
        script.chmod(0o755)
    for package in packages:
        alone = ["--no-deps", "--no-build-isolation"] if Path(package).is_dir() else []
        install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run([*install, "--disable-pip-version-check", *alone, package], check=True)  # noqa: S603
    return programs


if __name__ == "__main__":
    environment(Path(sys.argv[1]), *sys.argv[2:])
