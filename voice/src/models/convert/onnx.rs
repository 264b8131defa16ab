//! ONNX, written: protocol buffers whose fields are numbered as in
//! <https://github.com/onnx/onnx/blob/v1.19.0/onnx/onnx.proto>.
//!
//! A dozen kinds of message that are only written, so the few lines that Protocol Buffers need are here:
//! <https://protobuf.dev/programming-guides/encoding/>.

use super::{Attribute, Content, Graph, Length, Model, Node, Tensor, Value};

pub(super) fn write(model: &Model<'_>) -> Vec<u8> {
    let mut message = Message::default();
    message.int(1, model.ir_version);
    message.text(2, "patchcord");
    message.message(7, graph(&model.graph));
    for (domain, version) in &model.operators {
        let mut set = Message::default();
        set.text(1, domain);
        set.int(2, *version);
        message.message(8, set);
    }
    message.bytes
}

fn graph(graph: &Graph<'_>) -> Message {
    let mut message = Message::default();
    graph.nodes.iter().for_each(|item| message.message(1, node(item)));
    message.text(2, graph.name);
    graph.weights.iter().for_each(|item| message.message(5, tensor(item)));
    graph.inputs.iter().for_each(|item| message.message(11, value(item)));
    graph.outputs.iter().for_each(|item| message.message(12, value(item)));
    message
}

fn node(node: &Node<'_>) -> Message {
    let mut message = Message::default();
    // Also the empty ones: an input is known by its place.
    node.inputs.iter().for_each(|name| message.text(1, name));
    node.outputs.iter().for_each(|name| message.text(2, name));
    message.text(3, &node.name);
    message.text(4, node.operator);
    node.attributes.iter().for_each(|item| message.message(5, attribute(item)));
    message.text(7, node.domain);
    message
}

fn attribute(attribute: &Attribute<'_>) -> Message {
    let mut message = Message::default();
    message.text(1, attribute.name);
    let kind = match &attribute.content {
        Content::Float(number) => {
            message.float(2, *number);
            1
        }
        Content::Int(number) => {
            message.int(3, *number);
            2
        }
        Content::Text(text) => {
            message.text(4, text);
            3
        }
        Content::Tensor(item) => {
            message.message(5, tensor(item));
            4
        }
        Content::Graph(inside) => {
            message.message(6, graph(inside));
            5
        }
        Content::Floats(numbers) => {
            numbers.iter().for_each(|number| message.float(7, *number));
            6
        }
        Content::Ints(numbers) => {
            numbers.iter().for_each(|number| message.int(8, *number));
            7
        }
    };
    message.int(20, kind);
    message
}

fn tensor(tensor: &Tensor<'_>) -> Message {
    let mut message = Message::default();
    tensor.shape.iter().for_each(|length| message.int(1, *length));
    message.int(2, tensor.kind.into());
    message.text(8, &tensor.name);
    message.bytes(9, &tensor.content);
    message
}

fn value(value: &Value<'_>) -> Message {
    let mut tensor = Message::default();
    tensor.int(1, value.kind.into());
    if let Some(lengths) = &value.shape {
        let mut shape = Message::default();
        for length in lengths {
            let mut dimension = Message::default();
            match length {
                Length::Any => {}
                Length::Known(length) => dimension.int(1, *length),
                Length::Named(name) => dimension.text(2, name),
            }
            shape.message(1, dimension);
        }
        tensor.message(2, shape);
    }
    let mut about = Message::default();
    about.message(1, tensor);
    let mut message = Message::default();
    message.text(1, value.name);
    message.message(2, about);
    message
}

#[derive(Default)]
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn int(&mut self, field: u8, number: i64) {
        self.tag(field, 0);
        self.varint(number as u64);
    }

    fn float(&mut self, field: u8, number: f32) {
        self.tag(field, 5);
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, field: u8, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u8, message: Message) {
        self.bytes(field, &message.bytes);
    }

    fn bytes(&mut self, field: u8, bytes: &[u8]) {
        self.tag(field, 2);
        self.varint(bytes.len() as u64);
        self.bytes.extend_from_slice(bytes);
    }

    fn tag(&mut self, field: u8, kind: u8) {
        self.varint(u64::from(field) << 3 | u64::from(kind));
    }

    fn varint(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.bytes.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.bytes.push(number as u8);
    }
}
