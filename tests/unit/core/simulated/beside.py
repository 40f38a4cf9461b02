"""A deployment that binds keys of two ConfigMaps beside its workload as well, and what may happen to those."""

from dataclasses import replace

from lastgood.api.meta import Meta
from lastgood.api.names import BINDABLE
from lastgood.api.workload.companion import Companion
from lastgood.core.workload import render
from tests.unit.core import builders
from tests.unit.core.config_key import ConfigKey
from tests.unit.core.simulated.events import Event
from tests.unit.core.simulated.simulation import Simulation

BESIDE = (
    ConfigKey(config_map="paths", key="model", value="/models/$(path)"),
    ConfigKey(config_map="versions", key="digits", value="$(version)"),
)


def bind_beside() -> Event:
    """The deployment binds keys of two ConfigMaps as well, which say what serves."""

    def happen(simulation: Simulation) -> None:
        workload = simulation.workload
        assert workload is not None
        bindings = (*simulation.deployment.bindings, *BESIDE)
        words = "\n".join(binding.word for binding in bindings)
        annotations = {**workload.meta.annotations, BINDABLE: words}
        data = {item.binding: item.value for item in render(BESIDE, builders.V3) or ()}
        companions = {
            item.beside: Companion(
                meta=Meta(namespace=workload.meta.namespace, name=item.config_map, uid=f"uid-of-{item.config_map}"),
                body={"data": {item.key: data[item]}},
            )
            for item in BESIDE
        }
        meta = replace(workload.meta, annotations=annotations)
        simulation.workload = replace(workload, meta=meta, companions=companions)
        simulation.deployment = replace(simulation.deployment, bindings=bindings)

    return Event("bind beside", happen)


def overwrite_beside(number: int) -> Event:
    """Somebody else writes a key beside the workload."""

    def happen(simulation: Simulation) -> None:
        (first, *_) = render(BESIDE[:1], builders.snapshot(number)) or ()
        simulation.edits += 1
        simulation.change(BESIDE[0].beside, {BESIDE[0].key: first.value})

    return Event(f"overwrite beside with v{number}", happen)
