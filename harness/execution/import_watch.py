"""Act on a module as soon as it has been imported, whenever the program does that."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

Action = Callable[[ModuleType], None]


class ImportWatch(MetaPathFinder):
    """Calls an action with each watched module, once it is executed; imports nothing itself."""

    def __init__(self) -> None:
        self._actions: dict[str, Action] = {}

    def watch(self, name: str, action: Action) -> None:
        """Call `action` with the module `name`: now, if it is there, else when it is imported."""
        if name in sys.modules:
            action(sys.modules[name])
            return
        if not self._actions:
            sys.meta_path.insert(0, self)
        self._actions[name] = action

    def stop(self) -> None:
        """Watch nothing any more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    @property
    def waiting(self) -> tuple[str, ...]:
        """The modules that were not imported yet."""
        return tuple(self._actions)

    def imported(self, module: ModuleType) -> None:
        """Act on a module that has been executed; only once."""
        action = self._actions.pop(module.__name__, None)
        if action is not None:
            action(module)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Find a watched module as Python would, with a loader that acts afterwards."""
        if fullname not in self._actions:
            return None
        for finder in sys.meta_path:
            if finder is self:
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                if spec.loader is not None:
                    spec.loader = _ActingLoader(spec.loader, self)
                return spec
        return None


class _ActingLoader(Loader):
    """Another loader, which it puts back once the module is executed."""

    def __init__(self, loader: Loader, watch: ImportWatch) -> None:
        self._loader = loader
        self._watch = watch

    def __getattr__(self, name: str) -> object:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """Create the module as the other loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """Execute the module as the other loader does, then act on it."""
        self._loader.exec_module(module)
        assert module.__spec__ is not None
        module.__spec__.loader = module.__loader__ = self._loader
        self._watch.imported(module)
