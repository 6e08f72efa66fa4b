"""The examples that end each `--help`: commands that run as they stand, in the order of a project.

tests/cli/test_every_command.py runs them in this order, in one folder, at the profile smoke.
"""

from __future__ import annotations

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "list": (
        ("harness list", "names of everything that can be chosen"),
        ("harness list tables", "the published tables"),
        ("harness list backbones", "by data set and profile"),
        ("harness list --method DisCL", "the arguments of a term"),
        ("harness list arguments --format markdown", "those of every term"),
    ),
    "plan": (
        ("harness plan --dataset imagenet-lt --profile paper", "images, runs and GPU-hours"),
        ("harness plan --dataset cifar100-lt --rows CE CE+DisCL --seeds 0 1", "of two rows"),
    ),
    "doctor": (
        ("harness doctor", "what each profile still needs here"),
        ("harness doctor --format json", "the same for a program"),
    ),
    "compare": (
        ("harness compare --dataset cifar100-lt", "every stage, then the leaderboard"),
        (
            "harness compare --dataset cifar100-lt --rows CE CE+DisCL --imbalance 100 --seeds 0 1",
            "two rows, with their difference",
        ),
        (
            "harness compare --dataset cifar100-lt --rows CE --set scratch.lr=0.05 --home trial",
            "another learning rate, in a folder of its own",
        ),
    ),
    "index": (("harness index --dataset cifar100-lt iwildcam", "of two data sets"),),
    "hard": (("harness hard --dataset cifar100-lt", "after `harness index`"),),
    "generate": (("harness generate --dataset cifar100-lt", "after `harness hard`"),),
    "score": (("harness score --dataset cifar100-lt", "after `harness generate`"),),
    "train": (
        ("harness train --dataset cifar100-lt", "after `harness score`"),
        (
            "harness train --dataset cifar100-lt --seeds 0 "
            "--method 'CE+DisCL(curriculum=\"random\")'",
            "one method that no table has",
        ),
    ),
    "table": (
        ("harness table --dataset cifar100-lt", "the data set's main table"),
        ("harness table --dataset cifar100-lt --rule B --format markdown", "other class groups"),
        ("harness table --table table4 --select oracle", "another table, the best epoch"),
    ),
    "verify": (("harness verify --dataset cifar100-lt", "read everything that is kept"),),
    "cache": (
        ("harness cache gc --dataset cifar100-lt", "remove what no recipe reads any more"),
        ("harness cache export --dataset cifar100-lt --to exported", "a folder for other tools"),
    ),
    "data": (
        ("harness data check --dataset cifar100-lt", "the files of the built-in world"),
        (
            "harness data check --dataset imagenet-lt --profile paper --root /data/imagenet",
            "the official files",
        ),
        (
            "harness data digests --dataset imagenet-lt --profile paper --root /data/imagenet",
            "write files.sha256 there: each later read checks its file",
        ),
    ),
    "prompts": (
        ("harness prompts --dataset cifar100-lt --out scenes.json", "by the offline grammar"),
    ),
    "profile": (
        ("harness profile --dataset cifar100-lt --sources 2", "seconds of the generation"),
        (
            "harness profile --dataset cifar100-lt --sources 2 --levels 0.5 --against stock",
            "beside diffusers' pipeline",
        ),
    ),
    "report": (
        ("harness report --profile smoke --out report.html", "of all data sets with records"),
    ),
    "findings": (
        ("harness findings --profile mini", "the paper's claims, tested"),
        ("harness findings --dataset cifar100-lt --format json", "about one data set"),
    ),
    "check": (
        ("harness check --profile smoke", "exit code 3 for a regression"),
        ("harness check --profile smoke --format markdown", "for a pull request"),
        (
            'harness check --profile smoke --update --reason "new weights of CLIP"',
            "make these the golden numbers",
        ),
    ),
    "leaderboard": (
        ("harness leaderboard results/records --profile smoke", "of your own records"),
        (
            "harness leaderboard results/records --reference --profile smoke --page board.html",
            "beside the project's, as a page",
        ),
    ),
    "audit": (
        ("harness audit", "what does not add up in the published tables"),
        ("harness audit --all --format markdown", "every row"),
    ),
    "completion": (
        ("harness completion bash > harness.bash", "then: source harness.bash"),
        ("harness completion zsh > _harness", "into a folder of $fpath"),
    ),
}
FIRST = "compare table list plan report check leaderboard".split()  # commands of the main help
EXIT_CODES = """exit codes: 0 done, 1 data (a file or records are missing, damaged or cannot be
written), 2 usage, 3 a check failed (a regression), 130 interrupted, 143 terminated."""


def of_command(name: str) -> str:
    """What ends the help of a command."""
    return _listed(EXAMPLES[name])


def of_all() -> str:
    """What ends the main help: the first example of the main commands, and the exit codes."""
    return f"{_listed([EXAMPLES[name][0] for name in FIRST])}\n\n{EXIT_CODES}"


def _listed(examples: tuple[tuple[str, str], ...] | list[tuple[str, str]]) -> str:
    title = "examples:" if len(examples) > 1 else "example:"
    lines = (f"  {command}\n      # {about}" for command, about in examples)
    return "\n".join([title, *lines])
