# Makes word_pieces.txt and sentence_nearness.txt, by which the reader of sentences is tested: needs numpy, safetensors and
# tokenizers (made with 2.4.6, 0.8.0 and 0.23.3) and, as its argument, the folder of the model as it was published
# (model.safetensors and tokenizer.json). Tokens are the library's; nearness is computed in floats, with the sentences' own
# documentation (sbert.net, "Quickstart") to check that by.
import sys
import math
import numpy
import tokenizers
from safetensors.numpy import load_file

# Letters, digits and apostrophes, as a flow has them.
TEXTS = """\
hello
i would like to book a table for four
what time do you close on sundays
don't you have anything earlier
i'd rather not
what's the wifi password
my router doesn't work
reschedule my dentist appointment
a vegetarian lasagna with zucchini
immunizations and prescriptions
555 0199
the 3rd of may 2028
room 12b
supercalifragilisticexpialidocious
uncharacteristically antidisestablishmentarian
qwrtzpsdfg
x
naïve café
größe straße
ñandú façade œuvre
москва
日本語 が
שלום
c3po and r2d2
o'clock rock'n'roll 'tis"""

PAIRS = """\
when are you open|what time do you close on sundays
i want to cancel my booking|please delete my reservation
i want to cancel my booking|i want to make a booking
from the station to the airport|from the airport to the station
my pills are finished and i need more|can you renew my prescription
the quick brown fox jumps over the lazy dog|how much is a room"""

tokenizer = tokenizers.Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
tokenizer.no_padding()
tokenizer.no_truncation()
weights = load_file(sys.argv[1] + "/model.safetensors")
erf = numpy.vectorize(math.erf)


def linear(rows, name):
    return rows @ weights[name + ".weight"].T + weights[name + ".bias"]


def normalised(rows, name):
    centred = rows - rows.mean(-1, keepdims=True)
    spread = numpy.sqrt((centred**2).mean(-1, keepdims=True) + 1e-12)
    return centred / spread * weights[name + ".weight"] + weights[name + ".bias"]


def vector(text):
    ids = tokenizer.encode(text).ids
    words, places, types = (weights[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type"))
    rows = normalised(words[ids] + places[: len(ids)] + types[0], "embeddings.LayerNorm")
    for layer in range(6):
        name = f"encoder.layer.{layer}."
        parts = (linear(rows, name + "attention.self." + part) for part in ("query", "key", "value"))
        query, key, value = (part.reshape(len(ids), 12, 32).transpose(1, 0, 2) for part in parts)
        shares = numpy.exp(query @ key.transpose(0, 2, 1) / math.sqrt(32))
        shares /= shares.sum(-1, keepdims=True)
        heard = (shares @ value).transpose(1, 0, 2).reshape(len(ids), 384)
        rows = normalised(rows + linear(heard, name + "attention.output.dense"), name + "attention.output.LayerNorm")
        wide = linear(rows, name + "intermediate.dense")
        wide = wide * 0.5 * (1 + erf(wide / math.sqrt(2)))
        rows = normalised(rows + linear(wide, name + "output.dense"), name + "output.LayerNorm")
    mean = rows.mean(0)
    return mean / numpy.linalg.norm(mean)


def nearness(one, other):
    return float(vector(one) @ vector(other))


documented = ["The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium."]
for one, other, found in ((0, 1, 0.6660), (0, 2, 0.1046), (1, 2, 0.1411)):
    assert abs(nearness(documented[one], documented[other]) - found) < 1e-4, nearness(documented[one], documented[other])
with open("word_pieces.txt", "w") as file:
    for text in TEXTS.split("\n"):
        file.write(f"{' '.join(map(str, tokenizer.encode(text).ids))}\t{text}\n")
with open("sentence_nearness.txt", "w") as file:
    for pair in PAIRS.split("\n"):
        file.write(f"{nearness(*pair.split('|')):.4f}\t{pair}\n")
