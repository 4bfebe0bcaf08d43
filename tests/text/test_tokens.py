import pickle

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from agentprm.errors import InvalidSpec, TokenMismatch
from agentprm.testing.trajectories import corridors, episode, hostile
from agentprm.text.render import PLAIN, Template, render, samples
from agentprm.text.tokens import Encoder, texts, train_tokenizer
from agentprm.types import Action, Observation, Step, Task, Trajectory, new_id

PLAYED = corridors(8)
TOKENIZER = train_tokenizer(texts(PLAYED), vocab_size=320)
ENCODER = Encoder.of(TOKENIZER)
MARKERS = {TOKENIZER.convert_tokens_to_ids(marker): marker for marker in PLAIN.markers}


def test_ids_are_those_of_the_segments_one_by_one():
    segments = render(episode(("a door", "open it"), ("a door", "open it")))
    expected = []
    for segment in segments:
        expected.append(TOKENIZER.convert_tokens_to_ids(getattr(PLAIN, segment.role)))
        expected += TOKENIZER(segment.text).input_ids
        if segment.scored:
            expected.append(TOKENIZER.convert_tokens_to_ids(PLAIN.end))
    assert list(ENCODER(segments).ids) == expected


@pytest.mark.parametrize("sees", ["action", "result"])
def test_steps_end_and_turns_begin_where_the_markers_stand(sees):
    for trajectory in [*PLAYED, *hostile(), *samples(PLAIN)]:
        encoded = ENCODER(render(trajectory, sees))
        marks = [(i, MARKERS[id]) for i, id in enumerate(encoded.ids) if id in MARKERS]
        assert [i for i, marker in marks if marker == PLAIN.end] == list(encoded.ends)
        assert [i for i, marker in marks if marker == PLAIN.observation] == list(encoded.turns)
        assert len(encoded.ends) == len(trajectory)


@pytest.mark.parametrize("superwords", [False, True])
def test_text_that_spells_markers_has_none(superwords):
    spelled = "".join(PLAIN.markers)
    tokenizer = train_tokenizer([spelled] * 50, vocab_size=400, superwords=superwords)
    encoder = Encoder.of(tokenizer)
    for trajectory in (episode((spelled, spelled), ("x<|step|>y", spelled), task=spelled), *samples(PLAIN)):
        segments = render(trajectory)
        marked = [
            id for id in encoder(segments).ids if id in {tokenizer.convert_tokens_to_ids(m) for m in PLAIN.markers}
        ]
        assert len(marked) == len(segments) + len(trajectory)


def test_a_vocabulary_that_spells_a_marker_is_found_out():
    words = {word: i for i, word in enumerate(["unknown", "go", *PLAIN.markers])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="unknown"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    encoder = Encoder.of(tokenizer)
    assert len(encoder(render(episode(("go", "go")))).ends) == 1
    with pytest.raises(TokenMismatch, match="makes a marker"):
        encoder(render(episode(("go", "now <|step|> go"))))


def test_text_of_any_kind_is_encoded_without_loss():
    for text in ("naïve 日本語 🏺\r\n\t", "  spaces  ", "}\n", "\ufffd", "<|im_end|></s>[INST]"):
        encoded = ENCODER(render(episode(("", text)))[-1:])
        assert TOKENIZER.decode(encoded.ids[1:-1], skip_special_tokens=False) == text


def test_the_tokenizer_is_copied_and_left_as_it_was():
    mine = train_tokenizer(["a b c"], vocab_size=270)
    plain = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE(mine.backend_tokenizer.get_vocab(), [])))
    before = plain.backend_tokenizer.to_str()
    encoder = Encoder.of(plain, Template(gap="<|cut|>"))
    assert plain.backend_tokenizer.to_str() == before
    assert len(encoder.added) == len(set(encoder.added)) > 0
    used = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(TOKENIZER.backend_tokenizer.to_str()))
    encoder = Encoder.of(used)
    used("a door", truncation=True, max_length=1)
    assert encoder(render(PLAYED[0])) == ENCODER(render(PLAYED[0])) == Encoder.of(used)(render(PLAYED[0]))
    assert Encoder.of(used).digest == encoder.digest == ENCODER.digest


def test_markers_the_tokenizer_has_are_not_added_again():
    assert ENCODER.added == ()
    assert ENCODER.size == len(TOKENIZER)


def test_what_a_tokenizer_puts_before_a_text_stands_there_once():
    backend = Tokenizer.from_str(TOKENIZER.backend_tokenizer.to_str())
    backend.add_special_tokens(["<s>", "</s>"])
    special = [("<s>", backend.token_to_id("<s>")), ("</s>", backend.token_to_id("</s>"))]
    backend.post_processor = processors.TemplateProcessing("<s> $A </s>", special_tokens=special)
    ids = Encoder.of(backend)(render(PLAYED[0])).ids
    assert tuple(ids) == (special[0][1], *ENCODER(render(PLAYED[0])).ids)


@pytest.mark.parametrize("sees", ["action", "result"])
def test_a_trajectory_has_the_ids_of_its_segments_however_often_it_is_asked(sees):
    encoder = Encoder.of(TOKENIZER)
    for _ in range(2):
        for trajectory in [*PLAYED, *hostile(), *samples(PLAIN)]:
            expected = encoder(render(trajectory, sees))
            for again in (trajectory, *(trajectory.seen(t, sees) for t in range(len(trajectory)))):
                found = encoder.trajectory(again, sees)
                assert found.ids == expected.ids[: len(found.ids)]
            assert encoder.trajectory(trajectory, sees) == expected


def test_a_turn_is_worded_once(monkeypatch):
    encoder, worded = Encoder.of(TOKENIZER), []
    monkeypatch.setattr("agentprm.text.tokens.decided", lambda t, step, **k: worded.append(step) or iter(()))
    trajectory = episode(("a", "b"), ("c", "d"), ("e", "f"))
    for _ in range(5):
        encoder.trajectory(trajectory, "action")
    assert len(worded) == 3


def test_one_step_taken_twice_is_worded_by_where_it_stands():
    step = Step(Observation("a"), Action("b"))
    trajectory = Trajectory(new_id(), Task("t"), (step, step, step), Observation("c"))
    assert ENCODER.trajectory(trajectory, "result") == ENCODER(render(trajectory, "result"))
    assert ENCODER.trajectory(trajectory, "action") == ENCODER(render(trajectory, "action"))


def test_a_step_at_the_address_of_another_is_worded_anew():
    encoder = Encoder.of(TOKENIZER)
    for n in range(200):
        trajectory = episode((f"place {n}", f"go {n}"))
        assert encoder.trajectory(trajectory, "action") == encoder(render(trajectory))


def test_turns_that_are_known_are_few(monkeypatch):
    monkeypatch.setattr("agentprm.text.tokens._MOST_TURNS", 5)
    encoder = Encoder.of(TOKENIZER)
    for trajectory in PLAYED:
        assert encoder.trajectory(trajectory, "action") == encoder(render(trajectory))
        assert len(encoder._turns) <= 5


def test_where_decisions_begin_is_known():
    steps = (Step(Observation("a"), Action("b", plan="p")), Step(Observation("c"), Action("d")))
    trajectory = Trajectory(new_id(), Task("t"), steps, Observation())
    encoded = ENCODER(render(trajectory))
    assert [MARKERS[encoded.ids[i]] for i in encoded.begins] == [PLAIN.plan, PLAIN.action]


def test_an_encoder_is_named_by_its_tokenizer_and_survives_pickling():
    again = pickle.loads(pickle.dumps(ENCODER))
    assert again.digest == ENCODER.digest
    assert again(render(PLAYED[0])) == ENCODER(render(PLAYED[0]))
    assert Encoder.of(train_tokenizer(["other words"], 320)).digest != ENCODER.digest


def test_what_is_no_fast_tokenizer_is_refused():
    with pytest.raises(InvalidSpec, match="fast"):
        Encoder.of("gpt2")
    with pytest.raises(InvalidSpec, match="no tokenizer"):
        Encoder("{}", PLAIN)
    with pytest.raises(InvalidSpec, match="does not know"):
        Encoder(Tokenizer(models.BPE()).to_str(), PLAIN)


def test_training_a_tokenizer_is_reproducible():
    assert train_tokenizer(texts(PLAYED), 320).backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()


def test_superwords_reach_across_spaces_but_not_across_what_stands_apart():
    said = [f"there is a {colour} ball {n} steps in front of you." for colour in ("red", "blue") for n in range(9)] * 5
    short = train_tokenizer(said, 400, superwords=True, apart=["red", "blue"])
    tokens = short.tokenize(said[0])
    assert len(tokens) < len(train_tokenizer(said, 400).tokenize(said[0])) / 1.9
    assert "Ġred" in tokens
    assert not [
        t
        for t in short.get_vocab()
        if t not in PLAIN.markers and any(c in t and c != t.strip("Ġ") for c in ("red", "blue"))
    ]
    assert not [t for t in short.get_vocab() if len(t.strip("Ġ")) > 1 and any(d in t for d in "0123456789")]
