# Makes word_tokens.txt, by which the tokens of texts are tested: needs tokenizers (made with 0.23.3) and, as its argument, the
# tokenizer.json of the weights (.voice-models/wordllama/tokenizer.json).
import sys
import tokenizers

TEXTS = """\
hello
i would like to book a table for four
what time do you close on sundays
don't you have anything earlier
i'd rather not
what's the wifi password
my router doesn't work
where is my order
reschedule my dentist appointment
a vegetarian lasagna with zucchini
immunizations and prescriptions
half past seven
555 0199
the 3rd of may 2028
room 12b
supercalifragilisticexpialidocious
uncharacteristically antidisestablishmentarian
aaaaaaaaaaaaaaaaaaaaaaaa
qwrtzpsdfg
x
naïve café
größe straße
москва
日本語
שלום
🙂 👍🏽
he said "hello, world!" (twice)
one-two-three
C3PO and R2D2
THE QUICK BROWN FOX
e.g. a.m. p.m.
100% of $5.50 #1
tab_and_under_score
ﬁ ligature"""

tokenizer = tokenizers.Tokenizer.from_file(sys.argv[1])
with open("word_tokens.txt", "w") as file:
    for text in TEXTS.split("\n"):
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        file.write(f"{' '.join(map(str, ids))}\t{text}\n")
