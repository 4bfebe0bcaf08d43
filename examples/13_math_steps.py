"""A process reward model of counting, saved as TRL saves them: it judges each step, and chooses among solutions.

python examples/13_math_steps.py [folder or Hub name of a published model]        without one, a small one is taught
"""

import random
import sys
import tempfile

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForTokenClassification

from agentprm import Store, best_of_n
from agentprm.ops.aggregate import minimum
from agentprm.scorers.published import load_published, score_reasoning_steps, solution

QUESTION = "Count on."


def main(where=None):
    torch.set_num_threads(1)
    rng = random.Random(0)
    prm = load_published(where or taught(f"{tempfile.mkdtemp()}/counting-prm", rng))
    steps = ["After 3 comes 4.", "After 7 comes 9.", "After 0 comes 1."]
    scores, least = score_reasoning_steps(prm, QUESTION, steps)
    print(f"{prm.kind}, weights {prm.digest}\n")
    for step, score in zip(steps, scores, strict=True):
        print(f"  {score:.2f}  {step}")
    print(f"  {least:.2f}  the least of them\n")
    choose(prm, rng)
    keep(prm, [solution(QUESTION, steps)])


def choose(prm, rng, n=8, tasks=50):
    """Print how often the first of n solutions has no wrong step, and how often the one that scores best."""
    drawn = [[wrong_or_right(rng, 4) for _ in range(n)] for _ in range(tasks)]
    right = [0, 0]
    for candidates in drawn:
        solutions = [solution(QUESTION, steps) for steps, _ in candidates]
        best = solutions.index(best_of_n(solutions, prm, minimum))
        right = [right[0] + all(candidates[0][1]), right[1] + all(candidates[best][1])]
    print(f"without an error: {right[0]} of {tasks} solutions; the best of {n} by its least step: {right[1]}")


def keep(prm, solutions):
    """Store solutions with their scores, and ask which step is the worst."""
    with Store(":memory:") as store:
        store.add([*solutions, *prm(solutions)])
        scores = next(store.scores(solutions[0].id, source=prm.spec))
        worst = min(range(len(scores)), key=lambda t: scores.values[t])
        print(f"stored: the worst is step {worst}, {solutions[0].steps[worst].action.text}")


def wrong_or_right(rng, n):
    """Return n steps, and which of them are right: three of four."""
    labels = [rng.random() < 0.75 for _ in range(n)]
    numbers = [rng.randrange(9) for _ in labels]
    said = [
        a + 1 if right else rng.choice([b for b in range(10) if b != a + 1])
        for a, right in zip(numbers, labels, strict=True)
    ]
    return [f"After {a} comes {b}." for a, b in zip(numbers, said, strict=True)], labels


def taught(folder, rng, steps=300):
    """Teach a small model which steps are right, save it as TRL does, and return the folder."""
    tokenizer = small_tokenizer()
    config = {
        "hidden_size": 64,
        "intermediate_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "initializer_range": 0.1,
    }
    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=len(tokenizer), num_key_value_heads=4, max_position_embeddings=256, **config)
    model = Qwen2ForTokenClassification(config)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(steps):
        ids, labels = batch(tokenizer, rng)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    print(f"taught for {steps} steps, loss {loss.item():.3f}")
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def batch(tokenizer, rng, size=16):
    """Return ids and labels: question, steps and line ends tokenised apart, a label at each line end, else -100."""
    rows, marks = [], []
    for _ in range(size):
        steps, labels = wrong_or_right(rng, 6)
        ids = tokenizer.encode(QUESTION)
        mark = [-100] * len(ids)
        for step, label in zip(steps, labels, strict=True):
            ids += [*(own := tokenizer.encode(step)), *tokenizer.encode("\n")]
            mark += [*[-100] * len(own), int(label)]
        rows.append(torch.tensor(ids))
        marks.append(torch.tensor(mark))
    pad = torch.nn.utils.rnn.pad_sequence
    return pad(rows, True, 0), pad(marks, True, -100)


def small_tokenizer():
    """Return a tokenizer that, as Qwen2's, takes digits apart, and a full stop together with the line end after it."""
    tokenizer = Tokenizer(models.BPE(unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\d| ?[^\s\d]+\n*|\s+"), "isolated")
    texts = [QUESTION, "After 0123456789 comes .\n"]
    tokenizer.train_from_iterator(texts * 5, trainers.BpeTrainer(special_tokens=["?"], show_progress=False))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer)


if __name__ == "__main__":
    main(*sys.argv[1:])
