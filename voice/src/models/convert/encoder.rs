//! A sentence encoder that is published as tensors alone, written as an ONNX graph with its matrices as bytes: BERT, the mean
//! of whose outputs is what the sentence is about. <https://arxiv.org/abs/1810.04805>, as the names of its tensors have it.
//!
//! A matrix becomes unsigned bytes with a scale for each of its columns, multiplied as [`integers`](super::integers) says; of the
//! words' vectors, each row has a scale, and only the rows that are picked are made floats. That is a quarter of the size.

use super::{Attribute, Content, ConvertError, Graph, Length, Model, Node, Tensor, Value, kind};
use crate::safetensors::Tensors;

/// Numbers of each head of attention, in the family of models that we know.
const HEAD: usize = 32;

/// What BERT adds to a variance.
const EPSILON: f32 = 1e-12;

/// What the graph takes and gives.
pub const TOKENS: &str = "tokens";
pub const PLACES: &str = "places";
pub const VECTOR: &str = "vector";

/// The ONNX file of the encoder in `file`, of the format safetensors. It takes the numbers of a sentence's tokens, and 0 to one
/// less than there are; it gives one vector.
///
/// # Errors
/// If it is something else or damaged.
pub fn convert_encoder(file: &[u8]) -> Result<Vec<u8>, ConvertError> {
    let tensors = Tensors::read(file).map_err(ConvertError::Tensors)?;
    let mut building = Building { tensors, nodes: Vec::new(), weights: Vec::new() };
    building.encoder().map_err(ConvertError::Tensors)?;
    let Building { nodes, weights, .. } = building;
    let value = |name, kind, length| Value { name, kind, shape: Some(vec![length]) };
    let graph = Graph {
        name: "encoder",
        nodes,
        weights,
        inputs: [TOKENS, PLACES].map(|name| value(name, kind::I64, Length::Named("length"))).into(),
        outputs: vec![value(VECTOR, kind::FLOAT, Length::Any)],
    };
    Ok(super::onnx::write(&Model { ir_version: 8, operators: vec![("", 17), (super::integers::DOMAIN, 1)], graph }))
}

struct Building<'a> {
    tensors: Tensors<'a>,
    nodes: Vec<Node<'static>>,
    weights: Vec<Tensor<'static>>,
}

type Built<T> = Result<T, String>;

impl Building<'_> {
    fn encoder(&mut self) -> Built<()> {
        let mut state = self.embeddings()?;
        let mut layer = 0;
        while self.tensors.has(&format!("encoder.layer.{layer}.attention.self.query.weight")) {
            state = self.layer(&format!("encoder.layer.{layer}"), &state)?;
            layer += 1;
        }
        let mean = [ints("axes", &[0]), int("keepdims", 0)];
        self.node("ReduceMean", &[&state], VECTOR, mean.into());
        Ok(())
    }

    /// The vectors of the tokens and of their places.
    fn embeddings(&mut self) -> Built<String> {
        let (shape, words) = self.matrix("embeddings.word_embeddings.weight")?;
        let (bytes, scales) = quantised(words.chunks_exact(shape[1]));
        self.weight("words", &shape, kind::U8, bytes);
        self.weight("words.scales", &[shape[0], 1], kind::FLOAT, bytes_of(&scales));
        self.weight("words.zero", &[1], kind::FLOAT, bytes_of(&[f32::from(ZERO)]));
        self.node("Gather", &["words", TOKENS], "words.picked", vec![]);
        self.node("Cast", &["words.picked"], "words.floats", vec![int("to", kind::FLOAT.into())]);
        self.node("Sub", &["words.floats", "words.zero"], "words.shifted", vec![]);
        self.node("Gather", &["words.scales", TOKENS], "words.scale", vec![]);
        self.node("Mul", &["words.shifted", "words.scale"], "words.vectors", vec![]);
        // There is one sentence: all its tokens are of the first type.
        let ([_, width], types) = self.matrix("embeddings.token_type_embeddings.weight")?;
        let (shape, mut places) = self.matrix("embeddings.position_embeddings.weight")?;
        for place in places.chunks_exact_mut(shape[1]) {
            place.iter_mut().zip(&types[..width]).for_each(|(number, of_type)| *number += of_type);
        }
        self.weight("places.table", &shape, kind::FLOAT, bytes_of(&places));
        self.node("Gather", &["places.table", PLACES], "places.vectors", vec![]);
        self.node("Add", &["words.vectors", "places.vectors"], "embeddings.sum", vec![]);
        self.normalised("embeddings.LayerNorm", "embeddings.sum")
    }

    fn layer(&mut self, layer: &str, state: &str) -> Built<String> {
        let name = |part: &str| format!("{layer}.{part}");
        let ([width, _], _) = self.matrix(&name("attention.self.query.weight"))?;
        if !width.is_multiple_of(HEAD) {
            return Err(format!("its {layer} is {width} wide, and not of heads of {HEAD}"));
        }
        let heads = name("heads.shape");
        self.weight(&heads, &[3], kind::I64, bytes_of_ints(&[0, (width / HEAD) as i64, HEAD as i64]));
        let joined = name("joined.shape");
        self.weight(&joined, &[2], kind::I64, bytes_of_ints(&[0, width as i64]));
        let mut parts = Vec::new();
        // What a query is divided by is in its matrix.
        let by_head = (HEAD as f32).sqrt();
        for (part, order, divided) in
            [("query", [1, 0, 2], by_head), ("key", [1, 2, 0], 1.0), ("value", [1, 0, 2], 1.0)]
        {
            let product = self.product(&name(&format!("attention.self.{part}")), state, divided)?;
            let [apart, turned] = ["apart", "turned"].map(|step| name(&format!("{part}.{step}")));
            self.node("Reshape", &[&product, &heads], &apart, vec![]);
            self.node("Transpose", &[&apart], &turned, vec![ints("perm", &order)]);
            parts.push(turned);
        }
        let [scores, shares, heard, turned, together] =
            ["scores", "shares", "heard", "heard.turned", "heard.joined"].map(name);
        self.node("MatMul", &[&parts[0], &parts[1]], &scores, vec![]);
        self.node("Softmax", &[&scores], &shares, vec![int("axis", -1)]);
        self.node("MatMul", &[&shares, &parts[2]], &heard, vec![]);
        self.node("Transpose", &[&heard], &turned, vec![ints("perm", &[1, 0, 2])]);
        self.node("Reshape", &[&turned, &joined], &together, vec![]);
        let attention = self.product(&name("attention.output.dense"), &together, 1.0)?;
        let sum = name("attention.sum");
        self.node("Add", &[&attention, state], &sum, vec![]);
        let attended = self.normalised(&name("attention.output.LayerNorm"), &sum)?;
        let wide = self.product(&name("intermediate.dense"), &attended, 1.0)?;
        let bent = name("bent");
        self.node("Gelu", &[&wide], &bent, vec![]);
        let narrow = self.product(&name("output.dense"), &bent, 1.0)?;
        let sum = name("sum");
        self.node("Add", &[&narrow, &attended], &sum, vec![]);
        self.normalised(&name("output.LayerNorm"), &sum)
    }

    /// A state times the matrix of this name, over `divided`, and what is added to it.
    fn product(&mut self, name: &str, state: &str, divided: f32) -> Built<String> {
        // Published with a row for each number that comes out.
        let ([outs, ins], rows) = self.matrix(&format!("{name}.weight"))?;
        let ([length], bias) = self.floats(&format!("{name}.bias"))?;
        if length != outs {
            return Err(format!("its {name} gives {outs} numbers and adds {length}"));
        }
        let (by_row, scales) = quantised(rows.chunks_exact(ins));
        let columns = (0..ins).flat_map(|at| by_row.iter().skip(at).step_by(ins).copied()).collect();
        let over = |numbers: Vec<f32>| -> Vec<f32> { numbers.into_iter().map(|number| number / divided).collect() };
        let [matrix, scale, zero, added, product] =
            ["matrix", "scale", "zero", "bias", "product"].map(|part| format!("{name}.{part}"));
        self.weight(&matrix, &[ins, outs], kind::U8, columns);
        self.weight(&scale, &[outs], kind::FLOAT, bytes_of(&over(scales)));
        self.weight(&zero, &[outs], kind::U8, vec![ZERO; outs]);
        self.weight(&added, &[outs], kind::FLOAT, bytes_of(&over(bias)));
        self.node("DynamicQuantizeMatMul", &[state, &matrix, &scale, &zero, &added], &product, vec![]);
        Ok(product)
    }

    fn normalised(&mut self, name: &str, state: &str) -> Built<String> {
        let [scale, bias] = ["weight", "bias"].map(|part| format!("{name}.{part}"));
        for part in [&scale, &bias] {
            let ([length], numbers) = self.floats(part)?;
            self.weight(part, &[length], kind::FLOAT, bytes_of(&numbers));
        }
        let output = format!("{name}.output");
        let epsilon = Attribute { name: "epsilon", content: Content::Float(EPSILON) };
        self.node("LayerNormalization", &[state, &scale, &bias], &output, vec![int("axis", -1), epsilon]);
        Ok(output)
    }

    fn matrix(&self, name: &str) -> Built<([usize; 2], Vec<f32>)> {
        self.floats(name)
    }

    fn floats<const N: usize>(&self, name: &str) -> Built<([usize; N], Vec<f32>)> {
        let (shape, bytes) = self.tensors.get(name, "F32")?;
        Ok((shape, bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()))
    }

    fn weight(&mut self, name: &str, shape: &[usize], kind: i32, content: Vec<u8>) {
        let shape = shape.iter().map(|&length| length as i64).collect();
        self.weights.push(Tensor { name: name.to_owned().into(), shape, kind, content: content.into() });
    }

    fn node(&mut self, operator: &'static str, inputs: &[&str], output: &str, attributes: Vec<Attribute<'static>>) {
        let own = matches!(operator, "DynamicQuantizeMatMul" | "Gelu");
        self.nodes.push(Node {
            name: output.to_owned().into(),
            operator,
            domain: if own { super::integers::DOMAIN } else { "" },
            inputs: inputs.iter().map(|&name| name.to_owned().into()).collect(),
            outputs: vec![output.to_owned().into()],
            attributes,
        });
    }
}

/// What an unsigned byte is when the number is zero.
const ZERO: u8 = 128;

/// Rows as bytes, and what each row's are times.
fn quantised<'a>(rows: impl Iterator<Item = &'a [f32]>) -> (Vec<u8>, Vec<f32>) {
    let (mut bytes, mut scales) = (Vec::new(), Vec::new());
    for row in rows {
        let largest = row.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
        let scale = if largest > 0.0 { largest / 127.0 } else { 1.0 };
        bytes.extend(row.iter().map(|number| ((number / scale).round() + f32::from(ZERO)) as u8));
        scales.push(scale);
    }
    (bytes, scales)
}

fn bytes_of(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn bytes_of_ints(numbers: &[i64]) -> Vec<u8> {
    numbers.iter().flat_map(|number| number.to_le_bytes()).collect()
}

fn int(name: &'static str, number: i64) -> Attribute<'static> {
    Attribute { name, content: Content::Int(number) }
}

fn ints(name: &'static str, numbers: &[i64]) -> Attribute<'static> {
    Attribute { name, content: Content::Ints(numbers.to_vec()) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::runtime;
    use super::*;
    use crate::safetensors::tests::file;
    use ort::value::Tensor as Input;

    /// Two layers of two heads, six words, four places.
    const WIDTH: usize = 2 * HEAD;
    const INSIDE: usize = 96;
    const LAYERS: usize = 2;

    /// Numbers that look random and are always the same, between -0.5 and 0.5.
    fn numbers(count: usize, seed: usize) -> Vec<f32> {
        let mut state = seed as u32 * 2 + 1;
        let next = || {
            state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        };
        std::iter::repeat_with(next).take(count).collect()
    }

    /// Names, shapes and numbers.
    fn small() -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let mut names = vec![
            ("embeddings.word_embeddings.weight".to_owned(), vec![6, WIDTH]),
            ("embeddings.position_embeddings.weight".to_owned(), vec![4, WIDTH]),
            ("embeddings.token_type_embeddings.weight".to_owned(), vec![2, WIDTH]),
        ];
        let mut both = |name: String, shape: Vec<usize>| {
            names.push((format!("{name}.bias"), vec![shape[0]]));
            names.push((format!("{name}.weight"), shape));
        };
        both("embeddings.LayerNorm".into(), vec![WIDTH]);
        for layer in 0..LAYERS {
            let mut of = |part: &str, shape: &[usize]| both(format!("encoder.layer.{layer}.{part}"), shape.to_vec());
            for part in ["attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"]
            {
                of(part, &[WIDTH, WIDTH]);
            }
            of("attention.output.LayerNorm", &[WIDTH]);
            of("intermediate.dense", &[INSIDE, WIDTH]);
            of("output.dense", &[WIDTH, INSIDE]);
            of("output.LayerNorm", &[WIDTH]);
        }
        let filled = |(at, (name, shape)): (usize, (String, Vec<usize>))| {
            let numbers = numbers(shape.iter().product(), at);
            (name, shape, numbers)
        };
        names.into_iter().enumerate().map(filled).collect()
    }

    fn written(tensors: &[(String, Vec<usize>, Vec<f32>)]) -> Vec<u8> {
        let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, _, numbers)| bytes_of(numbers)).collect();
        let all: Vec<_> =
            tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| (&**name, "F32", &**shape, &**bytes)).collect();
        file(&all)
    }

    type Rows = Vec<Vec<f32>>;

    /// The same by the book, in floats.
    fn by_the_book(tensors: &[(String, Vec<usize>, Vec<f32>)], tokens: &[usize]) -> Vec<f32> {
        let get = |name: &str| &tensors.iter().find(|(other, _, _)| other == name).unwrap().2;
        let plus = |one: &Rows, other: &Rows| -> Rows {
            one.iter().zip(other).map(|(a, b)| a.iter().zip(b).map(|(a, b)| a + b).collect()).collect()
        };
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
        let linear = |name: &str, rows: &Rows| -> Rows {
            let (weight, bias) = (get(&format!("{name}.weight")), get(&format!("{name}.bias")));
            let one = |row: &Vec<f32>| {
                weight.chunks(row.len()).zip(bias).map(|(weight, bias)| dot(weight, row) + bias).collect()
            };
            rows.iter().map(one).collect()
        };
        let normalised = |name: &str, rows: &Rows| -> Rows {
            let (weight, bias) = (get(&format!("{name}.weight")), get(&format!("{name}.bias")));
            let one = |row: &Vec<f32>| {
                let count = row.len() as f32;
                let mean = row.iter().sum::<f32>() / count;
                let spread = (row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / count + EPSILON).sqrt();
                row.iter().zip(weight.iter().zip(bias)).map(|(x, (w, b))| (x - mean) / spread * w + b).collect()
            };
            rows.iter().map(one).collect()
        };
        let row = |name: &str, at: usize| &get(name)[at * WIDTH..][..WIDTH];
        let embedded = tokens.iter().enumerate().map(|(place, &token)| {
            let all = [("word", token), ("position", place), ("token_type", 0)];
            let all = all.map(|(kind, at)| row(&format!("embeddings.{kind}_embeddings.weight"), at));
            (0..WIDTH).map(|at| all.iter().map(|row| row[at]).sum()).collect()
        });
        let mut state = normalised("embeddings.LayerNorm", &embedded.collect());
        for layer in 0..LAYERS {
            let name = |part: &str| format!("encoder.layer.{layer}.{part}");
            let [query, key, value] =
                ["query", "key", "value"].map(|part| linear(&name(&format!("attention.self.{part}")), &state));
            let mut heard = vec![Vec::new(); tokens.len()];
            for head in 0..WIDTH / HEAD {
                let of = |rows: &Rows, at: usize| rows[at][head * HEAD..][..HEAD].to_vec();
                for (at, heard) in heard.iter_mut().enumerate() {
                    let scores: Vec<f32> = (0..tokens.len())
                        .map(|other| (dot(&of(&query, at), &of(&key, other)) / (HEAD as f32).sqrt()).exp())
                        .collect();
                    let sum: f32 = scores.iter().sum();
                    heard.extend((0..HEAD).map(|number| {
                        scores
                            .iter()
                            .enumerate()
                            .map(|(other, score)| score / sum * of(&value, other)[number])
                            .sum::<f32>()
                    }));
                }
            }
            let attended = plus(&linear(&name("attention.output.dense"), &heard), &state);
            let attended = normalised(&name("attention.output.LayerNorm"), &attended);
            let mut wide = linear(&name("intermediate.dense"), &attended);
            wide.iter_mut().flatten().for_each(|x| *x *= 0.5 * (1.0 + erf(*x / 2.0_f32.sqrt())));
            state = normalised(&name("output.LayerNorm"), &plus(&linear(&name("output.dense"), &wide), &attended));
        }
        (0..WIDTH).map(|at| state.iter().map(|row| row[at]).sum::<f32>() / tokens.len() as f32).collect()
    }

    /// Abramowitz and Stegun, 7.1.26.
    fn erf(x: f32) -> f32 {
        let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
        let sum = ((((1.061_405_4 * t - 1.453_152) * t + 1.421_413_7) * t - 0.284_496_74) * t + 0.254_829_6) * t;
        (1.0 - sum * (-x * x).exp()).copysign(x)
    }

    #[test]
    fn the_graph_computes_what_the_tensors_mean() {
        let Some(runtime) = runtime("the_graph_computes_what_the_tensors_mean") else { return };
        let tensors = small();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("small.onnx");
        std::fs::write(&path, convert_encoder(&written(&tensors)).unwrap()).unwrap();
        let mut session = runtime.session(&path).unwrap();
        for tokens in [&[0_usize][..], &[5, 1], &[1, 5], &[2, 3, 3, 4]] {
            let places: Vec<i64> = (0..tokens.len() as i64).collect();
            let ids: Vec<i64> = tokens.iter().map(|&token| token as i64).collect();
            let inputs = ort::inputs![
                TOKENS => Input::from_array(([ids.len()], ids)).unwrap(),
                PLACES => Input::from_array(([places.len()], places)).unwrap(),
            ];
            let outputs = session.run(inputs).unwrap();
            let found = outputs[VECTOR].try_extract_tensor::<f32>().unwrap().1;
            let wanted = by_the_book(&tensors, tokens);
            let largest = wanted.iter().fold(0.0_f32, |most, number| most.max(number.abs()));
            let off = found.iter().zip(&wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(found.len() == WIDTH && off <= 0.03 * largest, "{tokens:?}: {off} of {largest}");
        }
    }

    #[test]
    fn what_is_no_encoder_is_refused() {
        let good = small();
        for at in 0..good.len() {
            let mut without = small();
            let (name, _, _) = without.remove(at);
            // What tells that there is a layer.
            if !name.ends_with("self.query.weight") {
                let refused = convert_encoder(&written(&without)).unwrap_err().to_string();
                assert!(refused.contains(&name), "{refused}");
            }
        }
        let whole = written(&good);
        for cut in [0, 7, 100, whole.len() / 2, whole.len() - 1] {
            assert!(convert_encoder(&whole[..cut]).is_err(), "{cut} bytes of it");
        }
        let mut uneven = small();
        let bias = uneven.iter_mut().find(|(name, _, _)| name.ends_with("intermediate.dense.bias")).unwrap();
        bias.1 = vec![INSIDE - 1];
        bias.2.pop();
        let refused = convert_encoder(&written(&uneven)).unwrap_err().to_string();
        assert!(refused.contains("gives 96 numbers and adds 95"), "{refused}");
    }
}
