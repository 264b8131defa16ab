# Makes log_mel.txt, by which the features of the end of turn are tested: needs numpy (made with 2.4.6).
#
# Written from the definition, another way than log_mel.rs: every frame's transform is a product with a matrix of
# cosines and sines, the triangles are interpolated between their corners, all in double precision.
import numpy

RATE, HOP, WINDOW, BANDS = 16_000, 160, 400, 80

at = numpy.arange(8 * RATE, dtype=numpy.int64)
hiss = (at * 7_919 + at * at % 1_009 * 613) % 257 - 128
sweep = numpy.where(at // 12_000 % 3 == 2, (at * at // 900) % 2_001 - 1_000, 0)
sound = numpy.where(at < 20_000, 0, 8 * sweep + hiss + 100) / 16_384

sound = (sound - sound.mean()) / numpy.sqrt(sound.var() + 1e-7)
ends = numpy.concatenate([sound[WINDOW // 2 : 0 : -1], sound, sound[-2 : -WINDOW // 2 - 2 : -1]])
frames = numpy.stack([ends[start : start + WINDOW] for start in range(0, len(sound), HOP)])
frames = frames * numpy.sin(numpy.pi * numpy.arange(WINDOW) / WINDOW) ** 2
angles = 2 * numpy.pi * numpy.outer(numpy.arange(WINDOW), numpy.arange(WINDOW // 2 + 1)) / WINDOW
energies = (frames @ numpy.cos(angles)) ** 2 + (frames @ numpy.sin(angles)) ** 2

# Slaney: 200/3 Hz to a mel up to 1 kHz, then 27 mels to each factor of 6.4.
mels = numpy.linspace(0, 15 + 27 * numpy.log(RATE / 2 / 1_000) / numpy.log(6.4), BANDS + 2)
corners = numpy.where(mels < 15, mels * 200 / 3, 1_000 * 6.4 ** ((mels - 15) / 27))
bins = numpy.arange(WINDOW // 2 + 1) * RATE / WINDOW
features = []
for low, top, high in zip(corners, corners[1:], corners[2:]):
    triangle = numpy.interp(bins, [low, top, high], [0, 2 / (high - low), 0])
    features.append(numpy.log10(numpy.maximum(energies @ triangle, 1e-10)))
features = numpy.array(features)
features = (numpy.maximum(features, features.max() - 8) + 4) / 4
numpy.savetxt("log_mel.txt", features.flatten()[::131], fmt="%.5f")
