"""``recsys.v1.ExperimentService``: decode, ask the domain, encode, and nothing else."""

from recsys.errors import FieldViolation
from recsys.experiments.history import Running
from recsys.v1 import experiment_service_pb2 as experiment_pb
from recsys.v1 import types_pb2 as types_pb
from serving.requests import asker_violations, raise_violations
from serving.servicer import CallContext
from serving.treatments import Treatments


class ExperimentServicer:
    """Reads the experiments that a server assigns by."""

    descriptor = experiment_pb.DESCRIPTOR.services_by_name["ExperimentService"]

    def __init__(self, treatments: Treatments) -> None:
        self._treatments = treatments

    async def ListExperiments(  # noqa: N802  # the method's name on the wire
        self, _request: experiment_pb.ListExperimentsRequest, _: CallContext
    ) -> experiment_pb.ListExperimentsResponse:
        """List what runs."""
        running = self._treatments.book.running
        return experiment_pb.ListExperimentsResponse(experiments=map(_experiment, running))

    async def GetAssignments(  # noqa: N802  # the method's name on the wire
        self, request: experiment_pb.GetAssignmentsRequest, _: CallContext
    ) -> experiment_pb.GetAssignmentsResponse:
        """Say which arms somebody gets."""
        violations = list(asker_violations(request.user_id, request.visitor_id, request.attributes))
        if not (request.user_id or request.visitor_id):
            violations.append(FieldViolation("user_id", "expected a user_id or a visitor_id, got neither"))
        raise_violations(violations)
        arms = await self._treatments.assignments(request.user_id, request.visitor_id, request.attributes)
        found = [types_pb.Assignment(experiment=each.experiment, arm=each.arm) for each in arms]
        return experiment_pb.GetAssignmentsResponse(assignments=found)


def _experiment(running: Running) -> experiment_pb.Experiment:
    defined = running.experiment
    message = experiment_pb.Experiment(
        key=defined.key,
        version=running.version,
        fingerprint=defined.fingerprint,
        arms=[experiment_pb.Arm(key=arm.key, weight=arm.weight) for arm in defined.arms],
        coverage=running.coverage,
        layer=defined.layer,
        holdout=defined.holdout,
    )
    message.start_time.FromDatetime(running.started)
    return message
