"""The examples in docstrings are true."""

import doctest
import importlib
import pkgutil

import pytest

import domain

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(domain.__path__, "domain.")
    if module.name != "domain.testing"
)


def examples(name: str) -> list[doctest.DocTest]:
    found = doctest.DocTestFinder().find(importlib.import_module(name))
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", [name for name in MODULES if examples(name)])
def test_the_examples_of_a_module_are_true(name: str) -> None:
    runner = doctest.DocTestRunner()
    for test in examples(name):
        report: list[str] = []
        runner.run(test, out=report.append)
        assert runner.failures == 0, "".join(report)
