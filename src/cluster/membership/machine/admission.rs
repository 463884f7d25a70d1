//! Who may register: nodes of the same program, with the same tables, under a name nobody else has.
//!
//! Position: the part of the machine that answers [`super::Event::Opened`].

use super::{Action, Machine, Now, Record, StreamId, record::Answers};
use crate::cluster::{
    flight::TableFingerprint,
    membership::{NodeState, fingerprint::difference, messages::ToNode},
    node::{NodeId, NodeInfo},
};

impl Machine {
    pub(super) fn opened(&mut self, stream: StreamId, info: NodeInfo, tables: &[TableFingerprint], now: Now) {
        if let Some(why) = self.objection(&info, tables) {
            return self.refuse(stream, ToNode::Refused(why));
        }
        let known = self.nodes.get(&info.id);
        if self.gone.iter().any(|(id, incarnation)| *id == info.id && *incarnation == info.incarnation) {
            let known = known.filter(|node| node.info.incarnation == info.incarnation);
            let answer = match known {
                // It has not heard of it yet.
                Some(node) if node.state == NodeState::Left => ToNode::Drained,
                Some(node) => ToNode::Fenced(node.end.clone().unwrap_or_default()),
                None => ToNode::Fenced("it was started again".to_owned()),
            };
            return self.refuse(stream, answer);
        }
        let Some(known) = known else { return self.register(stream, info, now) };
        match (known.state, known.info.incarnation == info.incarnation) {
            (NodeState::Dead | NodeState::Left, _) => self.register(stream, info, now),
            (_, true) => self.return_to(stream, &info.id, now),
            // Nobody else can listen where it listens, so it is a new start, or what comes late of an earlier one: who answers there
            // decides, and the new start comes again.
            (state, false) if known.info.address == info.address => {
                self.actions.push(Action::Close(stream));
                if state != NodeState::Joining {
                    let why = "another start of it wants to register".to_owned();
                    self.doubt(&info.id, why, now);
                }
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
        self.nodes.insert(id.clone(), Record::joining(info, stream, now));
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

    /// Registered, and not reached.
    pub(super) fn refuse_unreachable(&mut self, id: &NodeId, why: &str) {
        let Some(node) = self.nodes.get_mut(id) else { return };
        let address = &node.info.address;
        let why = format!("the coordinator cannot reach the worker at {address}: {why}; [cluster] advertised_address says where it is");
        if let Some(stream) = node.stream.take() {
            self.refuse(stream, ToNode::Refused(why));
        }
        self.drop_joining(id);
    }
}
