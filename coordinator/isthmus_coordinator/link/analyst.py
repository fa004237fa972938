"""The analysts' calls: studies, sites, analyses and their results."""

# ruff: noqa: N802 - the contract names the calls

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from isthmus.v1 import analyst_pb2, analyst_pb2_grpc, study_pb2
from isthmus_coordinator.analyses.desk import Desk
from isthmus_coordinator.link.door import Door
from isthmus_coordinator.link.hub import Hub
from isthmus_coordinator.roster.members import Roster
from isthmus_coordinator.studies.catalogue import Studies, decision_words
from isthmus_trust.certificates import Role
from isthmus_trust.roster import State


class AnalystServicer(analyst_pb2_grpc.AnalystServicer):
    """Answers analysts. Who they are was checked at the door."""

    def __init__(self, door: Door, hub: Hub, roster: Roster, studies: Studies, desk: Desk) -> None:
        self._door = door
        self._hub = hub
        self._roster = roster
        self._studies = studies
        self._desk = desk

    def ListStudies(self, _request: analyst_pb2.ListStudiesRequest, _context: Any) -> analyst_pb2.ListStudiesReply:
        """Every version of every study."""
        reply = analyst_pb2.ListStudiesReply()
        for stored in self._studies.all():
            study, standing = stored.study, self._studies.standing(stored.digest)
            reply.studies.add(
                name=study.name,
                version=study.version,
                title=study.title,
                digest=stored.digest,
                approved=sum(standing.get(p.node, False) for p in study.participants),
                participants=len(study.participants),
            )
        return reply

    def GetStudy(self, request: analyst_pb2.GetStudyRequest, _context: Any) -> analyst_pb2.GetStudyReply:
        """A study as signed, and where each site stands."""
        stored = self._studies.named(request.name, request.version)
        standing = self._studies.standing(stored.digest)
        return analyst_pb2.GetStudyReply(
            study=stored.signed,
            digest=stored.digest,
            sites=[self._site(p, decision_words(standing, p.node)) for p in stored.study.participants],
        )

    def _site(self, participant: study_pb2.Participant, decision: str) -> analyst_pb2.Site:
        site = analyst_pb2.Site(node=participant.node, country=participant.country, decision=decision)
        member = self._roster.find(participant.node)
        if member is not None:
            site.last_contact = member.last_contact
            site.software = member.software
            site.datasets.extend(member.datasets)
            site.certificate_expires = member.certificate_expires
        line = self._hub.find(participant.node)
        if line is not None:
            site.attached = True
            site.last_contact = max(site.last_contact, line.last_contact)
        return site

    def ProposeStudy(self, request: analyst_pb2.ProposeStudyRequest, context: Any) -> analyst_pb2.ProposeStudyReply:
        """A study for the sites to decide on."""
        stored = self._studies.propose(self._door.peer(context), request.study)
        standing = self._studies.standing(stored.digest)
        for participant in stored.study.participants:
            if participant.node not in standing:
                self._hub.study(participant.node, stored.signed)
        return analyst_pb2.ProposeStudyReply(digest=stored.digest)

    def ListParticipants(
        self, _request: analyst_pb2.ListParticipantsRequest, _context: Any
    ) -> analyst_pb2.ListParticipantsReply:
        """Active nodes of the roster."""
        entries = [member.entry for member in self._roster.all()]
        return analyst_pb2.ListParticipantsReply(
            participants=[
                study_pb2.Participant(
                    node=e.node, country=e.country, identity_key=e.identity_key, custodian_key=e.custodian_key
                )
                for e in entries
                if e.role is Role.NODE and e.state is State.ACTIVE
            ]
        )

    def Submit(self, request: analyst_pb2.SubmitRequest, context: Any) -> analyst_pb2.SubmitReply:
        """Start a run."""
        return analyst_pb2.SubmitReply(run=self._desk.submit(self._door.peer(context).name, request))

    def Watch(self, request: analyst_pb2.WatchRequest, context: Any) -> Iterator[analyst_pb2.Progress]:
        """Progress until the run ends."""
        peer = self._door.peer(context)
        for progress in self._desk.follow(request.run, context.is_active):
            self._door.check(peer)
            yield progress

    def GetResult(self, request: analyst_pb2.GetResultRequest, _context: Any) -> analyst_pb2.Result:
        """The result of a run that has ended."""
        return analyst_pb2.Result.FromString(self._desk.result(request.run))

    def GetModel(self, request: analyst_pb2.GetModelRequest, context: Any) -> Iterator[analyst_pb2.ModelPart]:
        """The weights of a model that a run has trained."""
        peer = self._door.peer(context)
        for part in self._desk.model(request.run):
            self._door.check(peer)
            yield analyst_pb2.ModelPart(part=part)

    def Explain(self, request: analyst_pb2.ExplainRequest, _context: Any) -> analyst_pb2.Explanation:
        """What would leave each country."""
        return self._desk.explain(request)

    def Cancel(self, request: analyst_pb2.CancelRequest, _context: Any) -> analyst_pb2.CancelReply:
        """End a run."""
        self._desk.cancel(request.run)
        return analyst_pb2.CancelReply()
