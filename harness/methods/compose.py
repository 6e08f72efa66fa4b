"""From an expression such as "A+B(x=1)" to a method: terms are files of `baselines/`."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from harness.core import registry
from harness.core.errors import UsageError, quoted
from harness.methods import arguments as declaration
from harness.methods import expression_text
from harness.methods.expression_text import literal, plain, split
from harness.methods.term_protocol import checked, module_of
from harness.methods.terms import Method, Objective, TermParts

PACKAGE = "baselines"
# What two terms of one expression must not both bring, and how to say it; told in this order.
_EXCLUSIVE = {
    "finetune": "a way to fine-tune",
    "objective": "an objective",
    "curriculum": "a curriculum",
    "ensemble": "an ensemble",
    "onward": "a start from other weights",
}


@dataclass(frozen=True)
class Term:
    """One term of an expression: its arguments where they differ from their defaults, and these."""

    module: ModuleType
    arguments: tuple[tuple[str, Any], ...]
    defaults: tuple[tuple[str, Any], ...]  # of every argument

    def __str__(self) -> str:
        return self._text(dict(self.arguments))

    @property
    def full(self) -> str:
        """The term with all its arguments, but for the defaults of those that were added later."""
        declared = declaration.declared(self.module.term, registry.file_of(self.module))
        later = {a.name: a.default for a in declared if a.later}
        every = sorted(self._all().items())
        return self._text({k: v for k, v in every if k not in later or not _same(v, later[k])})

    def _text(self, arguments: dict[str, Any]) -> str:
        inside = ", ".join(f"{name}={literal(value)}" for name, value in arguments.items())
        return f"{self.module.NAME}({inside})" if inside else str(self.module.NAME)

    def _all(self) -> dict[str, Any]:
        return {**dict(self.defaults), **dict(self.arguments)}

    def parts(self) -> TermParts:
        """Fresh objects at every call.

        Raises UsageError for a value that its argument does not take, for arguments that the term
        refuses together, and for a term that does not return its parts.
        """
        where, arguments = registry.file_of(self.module), self._all()
        declaration.check(
            self.module.NAME, declaration.declared(self.module.term, where), arguments
        )
        return checked(self.module.term(**arguments), where)

    def without(self, *arguments: str) -> Term:
        others = tuple(pair for pair in self.arguments if pair[0] not in arguments)
        return Term(self.module, others, self.defaults)


def compose(
    expression: str, dataset: str | None = None, profile: str = "paper", package: str = PACKAGE
) -> Method:
    """The method that an expression names, with fresh objects.

    Terms are joined by '+'; a term is a file's name, with keyword arguments in parentheses if any.
    dataset, profile: where it is to run; some arguments have other defaults there.
    `Method.expression` is canonical: printed spelling, only arguments that differ from their
    defaults, sorted; the term with the objective first, an ensemble last.
    Raises UsageError for unknown names and arguments, positional arguments, values that are not
    literals, a part brought twice, no objective.
    """
    where = (package, dataset, profile)
    terms = [_term(text, expression, *where) for text in split(expression)]
    filled = [(term, term.parts()) for term in terms]
    filled.sort(key=lambda pair: (pair[1].objective is None, pair[1].ensemble is not None))
    for part in _EXCLUSIVE:
        _refuse_conflict(part, filled, expression)
    return Method(
        expression=_joined(term for term, _ in filled),
        arguments="+".join(term.full for term, _ in filled),
        objective=_objective(filled, expression, package),
        augment=tuple(parts.augment for _, parts in filled if parts.augment is not None),
        curriculum=_only(filled, "curriculum"),
        finetune=_only(filled, "finetune"),
        ensemble=_only(filled, "ensemble"),
        start=_start(filled),
        reference=_rest(filled, "consults") or _repeated(filled),
        repeats=bool(_only(filled, "repeats")),
        merges=_rest(filled, "ensemble"),
        reads=_reads(filled, expression),
        levels=_only(filled, "levels"),
        needs_text=next((str(term) for term, parts in filled if parts.needs_text), None),
    )


def argument(
    expression: str,
    name: str,
    dataset: str | None = None,
    profile: str = "paper",
    package: str = PACKAGE,
) -> tuple[str, Any] | None:
    """The expression without an argument of one of its terms, and that argument's value.

    The last term that takes it counts; None where none does. Raises UsageError as `compose`.
    """
    terms = [_term(text, expression, package, dataset, profile) for text in split(expression)]
    for i, term in reversed(list(enumerate(terms))):
        if name in dict(term.defaults):
            rest = [*terms[:i], term.without(name), *terms[i + 1 :]]
            return _joined(rest), {**dict(term.defaults), **dict(term.arguments)}[name]
    return None


# ---------------------------------------------------------------- from text to terms


def _term(text: str, expression: str, package: str, dataset: str | None, profile: str) -> Term:
    name, inside = expression_text.name_and_arguments(text, expression)
    module = module_of(package, name)
    arguments = {}
    if inside is not None:
        arguments = expression_text.arguments(inside, module.NAME, expression)
    defaults = _defaults(module, dataset, profile)
    for argument in arguments:
        if argument not in defaults:
            hint = registry.nearest(argument, defaults)
            raise UsageError(f"{module.NAME} has no argument {quoted(argument)}{hint}")
    changed = {k: v for k, v in sorted(arguments.items()) if not _same(v, defaults[k])}
    return Term(module, tuple(changed.items()), tuple(defaults.items()))


def _defaults(module: ModuleType, dataset: str | None, profile: str) -> dict[str, Any]:
    """Defaults of a term's arguments: its signature's, or what its `defaults` has for a place."""
    where = registry.file_of(module)
    known = {a.name: a.default for a in declaration.declared(module.term, where)}
    own = {} if dataset is None else plain_defaults(module, dataset, profile)
    for name in own:
        if name not in known:
            hint = registry.nearest(name, known)
            raise UsageError(f"{where}: defaults has {name!r}, no argument of term{hint}")
    return known | own


def plain_defaults(module: ModuleType, dataset: str, profile: str) -> dict[str, Any]:
    """What a term's `defaults` has for a data set and profile; nothing where it has none."""
    if not hasattr(module, "defaults"):
        return {}
    return {name: plain(value) for name, value in module.defaults(dataset, profile).items()}


def problem(package: str, name: str) -> str | None:
    """What is wrong with the file of a term, in one sentence; None: nothing."""
    try:
        _term(name, name, package, None, "paper").parts()
    except UsageError as error:
        return str(error)
    return None


def _same(value: Any, default: Any) -> bool:
    return bool(value == default) and isinstance(value, bool) == isinstance(default, bool)


# ---------------------------------------------------------------- from terms to a method


def _only(filled: list[tuple[Term, TermParts]], part: str) -> Any:
    return next((value for _, s in filled if (value := getattr(s, part)) is not None), None)


def _refuse_conflict(part: str, filled: list[tuple[Term, TermParts]], expression: str) -> None:
    by = [str(term) for term, parts in filled if getattr(parts, part) is not None]
    if len(by) > 1:
        raise UsageError(
            f"{quoted(expression)}: {by[0]} and {by[1]} both bring {_EXCLUSIVE[part]}; keep one"
        )


def _objective(filled: list[tuple[Term, TermParts]], expression: str, package: str) -> Objective:
    objective: Objective | None = _only(filled, "objective")
    if objective is None:
        able = [name for name in registry.names(package) if _brings_objective(package, name)]
        raise UsageError(
            f"{quoted(expression)} has no objective; put one in front, for example "
            f"'{able[0] if able else 'NAME'}+{expression.strip()}'; "
            f"terms with an objective: {', '.join(able) or 'none'}"
        )
    return objective


def _brings_objective(package: str, name: str) -> bool:
    """Whether a term does; a broken file does not."""
    if problem(package, name) is not None:
        return False
    return _term(name, name, package, None, "paper").parts().objective is not None


def _reads(filled: list[tuple[Term, TermParts]], expression: str) -> str | None:
    kinds = {parts.reads: str(term) for term, parts in filled if parts.reads is not None}
    if len(kinds) > 1:
        raise UsageError(
            f"{quoted(expression)}: {' and '.join(kinds.values())} read different synthetic images "
            f"({', '.join(kinds)}); keep one"
        )
    return next(iter(kinds), None)


def _start(filled: list[tuple[Term, TermParts]]) -> str | None:
    """The expression whose weights this one starts from: the same without what goes onward.

    A term that holds the objective stays and loses the arguments that made it go onward. Ensembles
    merge weights after training, so they are no part of a start.
    """
    if not _only(filled, "onward"):
        return None
    terms = []
    for term, parts in filled:
        if parts.ensemble is not None:
            continue
        if not parts.onward:
            terms.append(term)
        elif parts.objective is not None:
            terms += list(_before(term))[:1]
    return _joined(terms) or None


def _before(term: Term) -> Iterator[Term]:
    """The term without some of its arguments, as few as make it not go onward."""
    names = [name for name, _ in term.arguments]
    for n in range(1, len(names) + 1):
        for some in itertools.combinations(names, n):
            shorter = term.without(*some)
            try:
                onward = shorter.parts().onward
            except UsageError:  # an argument of what was taken away
                continue
            if not onward:
                yield shorter


def _rest(filled: list[tuple[Term, TermParts]], part: str) -> str | None:
    """The expression without ensembles and the terms that bring `part`; None when none does."""
    if not any(getattr(parts, part) for _, parts in filled):
        return None
    return _joined(t for t, parts in filled if parts.ensemble is None and not getattr(parts, part))


def _repeated(filled: list[tuple[Term, TermParts]]) -> str | None:
    """The expression that a control repeats: the same without `control` and ensembles, or None."""
    if not _only(filled, "repeats"):
        return None
    return _joined(
        term.without("control") if parts.repeats else term
        for term, parts in filled
        if parts.ensemble is None
    )


def _joined(terms: Iterable[Term]) -> str:
    return "+".join(map(str, terms))
