"""Items of a data set, prepared ahead by worker processes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import active_children
from typing import Any, TypeVar

from torch.utils.data import DataLoader, Dataset

from laminar.errors import LaminarError
from laminar.runtime import end_at_exit, follow_parent

Item = TypeVar("Item")


class _Loader(DataLoader[Item]):
    """One whose workers end with this process."""

    def __iter__(self) -> Any:
        before = set(active_children())
        items = super().__iter__()
        if self.num_workers:
            end_at_exit(set(active_children()) - before)
        return items


def loader_of(dataset: Dataset[Item], workers: int, order: Sequence[int] | None = None) -> DataLoader[Item]:
    """A loader of single items, in `order` if there is one, whose `workers` (0: this process) end with this process."""
    return _Loader(dataset, batch_size=None, sampler=order, num_workers=workers, worker_init_fn=follow_parent)


def said_plainly(items: Iterable[Item]) -> Iterator[Item]:
    """The items of a loader; an error of ours says what it said in the worker, without the trace that PyTorch adds."""
    try:
        yield from items
    except LaminarError as error:
        if "\n" not in Exception.__str__(error):
            raise
        name = f"{type(error).__module__}.{type(error).__qualname__}: "
        said = str(Exception.__str__(error))  # that of ours is of one line
        raise type(error)(said.strip().splitlines()[-1].removeprefix(name)) from None
