"""The run graph: one job a training run, one a notebook, one the book. `make book` calls it."""

import os
import re
from pathlib import Path

PROFILE = config.get("profile", "smoke")
NOTEBOOKS = sorted(path.stem for path in Path("notebooks").glob("*.ipynb"))
RECORDS = {str(path) for path in Path("results").rglob("*.json")}

# smoke is the notebooks' own defaults; they train in their own process, and have no file
PARAMETERS = {name: path for name in NOTEBOOKS if (path := Path("profiles", PROFILE, f"{name}.yml")).exists()}
if PROFILE != "smoke" and not PARAMETERS:
    raise WorkflowError(f"no profile {PROFILE!r}: profiles/{PROFILE} holds no notebook's parameters")

# A run whose record exists is no job at all, so nothing, neither edited code nor a file's age, can train it again.
MISSING = {}
if PARAMETERS:
    from mtlutils import profiles
    from mtlutils.experiments import plan

    for name in PARAMETERS:
        planned = {os.path.relpath(run.path): run for run in plan(name, profiles.parameters(PROFILE, name))}
        MISSING |= {record: run.command for record, run in planned.items() if record not in RECORDS}


# Before hours of training, what they will take and whether they fit, from a measured step. Where that cannot be measured,
# the runs themselves will say why.
onstart:
    if PROFILE == "paper" and MISSING:
        from mtlutils.experiments import load

        for name in PARAMETERS:
            if load(name).work and any(f"/{name}/" in record for record in MISSING):
                shell("python -m mtlutils estimate {name} --profile {PROFILE} || true")


CODE = [str(path) for path in sorted(Path("mtlutils").rglob("*")) if path.is_file() and path.suffix != ".pyc"]
PAGES = [str(path) for path in sorted(Path("book").rglob("*")) if path.is_file()]


# A missing record is asked for by name, since Snakemake would not miss one that the finished book no longer needs.
rule all:
    input:
        list(MISSING),
        "_build/html/index.html",


rule book:
    input:
        expand("_build/notebooks/{profile}/{name}.ipynb", profile=PROFILE, name=NOTEBOOKS),
        sorted(RECORDS | set(MISSING)),
        CODE,
        PAGES,
        "_config.yml",
        "_toc.yml",
    output:
        "_build/html/index.html",
    log:
        "_build/logs/site.log",
    shell:
        "book/logged 'the site' {log} book/build _build/notebooks/{PROFILE}"


rule notebook:
    input:
        notebook="notebooks/{name}.ipynb",
        parameters=lambda job: PARAMETERS.get(job.name, []),
        records=sorted(RECORDS | set(MISSING)),
        code=CODE,
    output:
        f"_build/notebooks/{PROFILE}/{{name}}.ipynb",
    log:
        f"_build/logs/{PROFILE}-{{name}}.log",
    params:
        file=lambda job, input: f"-f {input.parameters}" if input.parameters else "",
    shell:
        "book/logged 'notebook {wildcards.name}' {log}"
        " papermill --no-progress-bar --cwd notebooks {params.file} {input.notebook} {output}"


if MISSING:

    rule train:
        output:
            "{record}",
        wildcard_constraints:
            record="|".join(map(re.escape, MISSING)),
        log:
            "_build/logs/{record}.log",
        params:
            command=lambda job: MISSING[job.record],
        resources:
            gpu=1 if PROFILE == "paper" else 0,  # `--resources gpu=1` keeps two runs off one GPU
        shell:
            "book/logged {output:q} {log:q} python -m mtlutils {params.command:q}"
