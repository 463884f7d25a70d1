//! Who may register: nodes of the same program, with the same tables, under a name nobody else has.
//!
//! Position: the part of the machine that answers [`super::Event::Opened`].

use super::{Action, Machine, Now, Record, StreamId, record::Answers};
use crate::cluster::{
    flight::TableFingerprint,
    membership::{NodeState, fingerprint::difference, machine::Answer, messages::ToNode},
    node::{NodeId, NodeInfo},
};

impl Machine {
    pub(super) fn opened(&mut self, stream: StreamId, info: NodeInfo, tables: &[TableFingerprint], now: Now) {
        if let Some(why) = self.objection(&info, tables) {
            return self.refuse(stream, ToNode::Refused(why));
        }
        let Some(known) = self.nodes.get(&info.id) else { return self.register(stream, info, now) };
        if known.earlier.contains(&info.incarnation) {
            return self.refuse(stream, ToNode::Fenced("it was started again".to_owned()));
        }
        match (known.state, known.info.incarnation == info.incarnation) {
            (NodeState::Dead, true) => {
                let why = known.end.clone().unwrap_or_default();
                self.refuse(stream, ToNode::Fenced(why));
            }
            (NodeState::Left, true) => self.refuse(stream, ToNode::Refused("it has left the cluster: start it again".to_owned())),
            (NodeState::Dead | NodeState::Left, false) => self.register(stream, info, now),
            (_, true) => self.return_to(stream, &info.id, now),
            // Nobody else can listen where it listened: it is a new start of the same node.
            (NodeState::Joining, false) if known.info.address == info.address => {
                let earlier = known.stream;
                self.register(stream, info, now);
                self.actions.extend(earlier.map(Action::Close));
            }
            (_, false) if known.info.address == info.address => {
                self.dead(&info.id, "it was started again".to_owned(), now);
                self.register(stream, info, now);
            }
            (_, false) => {
                let why = format!(
                    "the worker_id \"{}\" is taken by the node at {}: every worker needs its own [cluster] worker_id",
                    info.id, known.info.address
                );
                self.refuse(stream, ToNode::Refused(why));
            }
        }
    }

    fn objection(&self, info: &NodeInfo, tables: &[TableFingerprint]) -> Option<String> {
        if info.version != self.us.version || info.protocol != self.us.protocol {
            return Some(format!(
                "the coordinator runs arneb {} (protocol {}), and the worker arneb {} (protocol {}): all nodes must run the same version",
                self.us.version, self.us.protocol, info.version, info.protocol
            ));
        }
        if info.id == self.us.id || info.id.0.is_empty() {
            return Some(format!("a worker cannot be called \"{}\": set [cluster] worker_id", info.id));
        }
        let difference = difference(&self.tables, tables)?;
        Some(format!("{difference}: every node needs the same [[tables]] over the same files"))
    }

    fn refuse(&mut self, stream: StreamId, answer: ToNode) {
        self.actions.push(Action::Tell(stream, answer));
        self.actions.push(Action::Close(stream));
    }

    fn register(&mut self, stream: StreamId, info: NodeInfo, now: Now) {
        let id = info.id.clone();
        let mut record = Record::joining(info, stream, now);
        if let Some(earlier) = self.nodes.remove(&id) {
            record = record.after(earlier);
        }
        self.nodes.insert(id.clone(), record);
        self.welcome(stream);
        self.knock(&id);
    }

    fn welcome(&mut self, stream: StreamId) {
        let welcome = ToNode::Welcome { coordinator: self.us.incarnation, timing: self.timing };
        self.actions.push(Action::Tell(stream, welcome));
    }

    /// The node that was there before has another stream.
    fn return_to(&mut self, stream: StreamId, id: &NodeId, now: Now) {
        self.welcome(stream);
        let node = self.nodes.get_mut(id).expect("it was just found");
        let earlier = node.stream.replace(stream).filter(|earlier| *earlier != stream);
        node.last_beat = now;
        node.clear(Answers::Stream);
        let tell = |message| Action::Tell(stream, message);
        if node.state != NodeState::Joining {
            self.actions.push(tell(ToNode::Joined));
        }
        if node.is_draining {
            self.actions.push(tell(ToNode::Drain));
        }
        self.actions.extend(earlier.map(Action::Close));
    }

    /// Registered, and never reached.
    pub(super) fn refuse_unreachable(&mut self, id: &NodeId) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let address = &node.info.address;
        let why = match &node.knocking.last_answer {
            Some(Answer::Here(_)) => "another node answers there".to_owned(),
            Some(Answer::Refused(why) | Answer::Silent(why)) => why.clone(),
            None => "no answer".to_owned(),
        };
        let why = format!("the coordinator cannot reach the worker at {address}: {why}; [cluster] advertised_address says where it is");
        if let Some(stream) = node.stream.take() {
            self.refuse(stream, ToNode::Refused(why));
        }
        self.drop_joining(id);
    }
}
