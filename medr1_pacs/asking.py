"""ask: what is asked about a complete study, and why the rest is not.

    StudyFacts -> route -> questions -> select -> window, options, truth -> StudyPlan

What an earlier version of the study asked stays asked: the same frame is not asked again, however
bank, renderer or decoding have changed since, and what a late instance adds is asked in the words
that the study was asked in before. Only another checkpoint is another question.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from medr1_pacs.prompts import build_prompt_text, permute_options
from medr1_pacs.questions.bank import QuestionBank, questions_for
from medr1_pacs.questions.conditions import facts_of, first_unmet
from medr1_pacs.questions.schema import Question, requested_checkpoint
from medr1_pacs.questions.truths import truth_of
from medr1_pacs.questions.windows import window_request
from medr1_pacs.records.planned import (
    AskedPrompt,
    Decoding,
    FrameChoice,
    InstanceFacts,
    PlannedPrompt,
    PlannedQuestion,
    QuestionIdentity,
    Route,
    SeriesFacts,
    StudyFacts,
    StudyPlan,
    WindowRequest,
)
from medr1_pacs.rendering import recipe_of
from medr1_pacs.routing.series import route_series
from medr1_pacs.routing.synonyms import Synonyms
from medr1_pacs.selection import select

logger = logging.getLogger(__name__)

MAX_NEW_TOKENS = 256
"""As the authors of Med-R1 evaluated."""


@dataclass(frozen=True, slots=True)
class Questionnaire:
    """Everything but the study that decides what is asked."""

    bank: QuestionBank
    synonyms: Synonyms
    resolve_checkpoint: Callable[[str], str]
    """Requested -> answering checkpoint; the demo's while it stands in."""
    is_demo: bool
    think: bool


def build_plan(study: StudyFacts, questionnaire: Questionnaire) -> StudyPlan:
    """Decide what is asked about each series of a study, and say why the rest is not."""
    routes = {
        series.series_id: route_series(
            [instance.attributes for instance in series.instances], questionnaire.synonyms
        )
        for series in study.series
    }
    earlier = _Earlier(study.asked)
    planned = tuple(
        _plan_question(
            earlier.wording_of(question), series, routes[series.series_id], questionnaire, earlier
        )
        for series in study.series
        for question in _questions(routes[series.series_id], questionnaire)
    )
    plan = StudyPlan(routes, planned, "")
    return plan if plan.asks else replace(plan, reason=_why_nothing(plan))


class _Earlier:
    """What earlier versions of the study asked."""

    def __init__(self, asked: Iterable[AskedPrompt]) -> None:
        self._prompts: dict[_PromptKey, AskedPrompt] = {}
        self._questions: dict[str, QuestionIdentity] = {}
        for prompt in asked:
            question_id = prompt.question.question_id
            self._questions[question_id] = prompt.question
            self._prompts[
                question_id,
                prompt.instance_id,
                prompt.frame_number,
                prompt.preset_name,
                prompt.checkpoint,
            ] = prompt

    def wording_of(self, question: Question) -> Question:
        """Return a question as the study was asked it before; as it is, where it was not."""
        before = self._questions.get(question.id)
        if before is None or before.question_sha256 == question.question_sha256:
            return question
        try:
            return Question.from_definition(before.definition)
        except ValueError:
            logger.warning(
                "%s version %d can be asked no more, its new version is asked of what is new",
                before.question_id,
                before.version,
            )
            return question

    def find(
        self, question: Question, choice: FrameChoice, request: WindowRequest, checkpoint: str
    ) -> AskedPrompt | None:
        """Return the prompt that asked this already."""
        return self._prompts.get(
            (
                question.id,
                choice.instance_id,
                choice.frame_number,
                request.preset_name,
                checkpoint,
            )
        )


_PromptKey = tuple[str, int, int, str | None, str]


def _questions(route: Route, questionnaire: Questionnaire) -> tuple[Question, ...]:
    if route.modality is None:
        return ()
    return questions_for(questionnaire.bank, route.modality, demo=questionnaire.is_demo)


def _plan_question(
    question: Question,
    series: SeriesFacts,
    route: Route,
    questionnaire: Questionnaire,
    earlier: _Earlier,
) -> PlannedQuestion:
    identity = _identity_of(question)
    askable, excluded = _apply_conditions(question, series, route)
    if not askable:
        reason = excluded.most_common(1)[0][0]
        return PlannedQuestion(identity, series.series_id, reason, excluded)
    selection = select(question.select, askable)
    by_id = {instance.instance_id: instance for instance in askable}
    checkpoint = questionnaire.resolve_checkpoint(requested_checkpoint(question))
    prompts, kept = [], []
    for choice in selection.chosen:
        for request in _window_requests(question, route):
            before = earlier.find(question, choice, request, checkpoint)
            if before is not None:
                kept.append(before)
                continue
            instance = by_id[choice.instance_id]
            prompts.append(
                _plan_prompt(
                    question, choice, instance, route, request, checkpoint, questionnaire.think
                )
            )
    return PlannedQuestion(
        identity,
        series.series_id,
        selection.reason,
        excluded + Counter(selection.skipped),
        tuple(prompts),
        tuple(kept),
    )


def _identity_of(question: Question) -> QuestionIdentity:
    return QuestionIdentity(
        question_id=question.id,
        version=question.version,
        question_sha256=question.question_sha256,
        modality=question.modality,
        task=question.task,
        role=question.role,
        definition=question.definition(),
    )


def _apply_conditions(
    question: Question, series: SeriesFacts, route: Route
) -> tuple[list[InstanceFacts], Counter[str]]:
    """Return the instances that may be asked about, and reason -> frames of the others."""
    askable, excluded = [], Counter[str]()
    for instance in series.instances:
        reason = first_unmet(question.when, facts_of(instance.attributes, route))
        if reason is None:
            askable.append(instance)
        else:
            excluded[reason] += instance.number_of_frames
    return askable, excluded


def _window_requests(question: Question, route: Route) -> Iterator[WindowRequest]:
    yield window_request(question.window, question.modality, route)
    if question.second_window is not None:
        yield window_request(question.second_window, question.modality, route)


def _plan_prompt(
    question: Question,
    choice: FrameChoice,
    instance: InstanceFacts,
    route: Route,
    request: WindowRequest,
    checkpoint: str,
    think: bool,
) -> PlannedPrompt:
    order = permute_options(
        question.id, question.version, choice.sop_instance_uid, len(question.options)
    )
    options = tuple(question.options[index] for index in order)
    decoding = Decoding(think=think and question.think, max_new_tokens=MAX_NEW_TOKENS)
    prompt_text = build_prompt_text(question.stem, options, think=decoding.think)
    truth, truth_source = truth_of(question, instance.attributes, route) or (None, None)
    return PlannedPrompt(
        instance_id=choice.instance_id,
        frame_number=choice.frame_number,
        recipe=recipe_of(request),
        window_request=request,
        requested_checkpoint=requested_checkpoint(question),
        checkpoint=checkpoint,
        coverage=route.coverage or question.coverage,
        options=options,
        option_order=order,
        prompt_text=prompt_text,
        prompt_sha256=hashlib.sha256(prompt_text.encode()).hexdigest(),
        decoding=decoding,
        truth=truth,
        truth_source=truth_source,
    )


def _why_nothing(plan: StudyPlan) -> str:
    unrouted = [route.reason for route in plan.routes.values() if route.modality is None]
    routed = sorted({str(route.modality) for route in plan.routes.values() if route.modality})
    reasons = list(dict.fromkeys(unrouted))
    if routed and plan.questions:
        reasons.append(f"no question for {', '.join(routed)} applies: {plan.questions[0].reason}")
    elif routed:
        reasons.append(f"the bank has no question for {', '.join(routed)}")
    return "; ".join(reasons) or "the study has no instance"
