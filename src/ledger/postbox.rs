//! How answers come back to the threads that serve HTTP. The writer puts all answers of a batch for one
//! thread down in its postbox and wakes it once; the thread hands each to the request that waits for it,
//! at the latest before it sends the next command. Woken by the writer one by one, answers would wait
//! until every request that has just come in was read: tokio runs what a thread itself woke first.

use std::cell::RefCell;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::writer::Answer;

thread_local! {
    /// The postbox of this thread, for as long as somebody takes out what comes.
    static OWN: RefCell<Option<Arc<Postbox>>> = const { RefCell::new(None) };
}

/// The answers to one thread that it has not taken out yet: at most one for each request in flight.
#[derive(Default)]
struct Postbox {
    letters: Mutex<Letters>,
    arrived: Notify,
}

#[derive(Default)]
struct Letters {
    waiting: Vec<(oneshot::Sender<Answer>, Answer)>,
    /// Nobody takes anything out any more: who waits is told directly.
    is_closed: bool,
}

/// Who waits for an answer.
pub(super) struct Waiter {
    reply: oneshot::Sender<Answer>,
    postbox: Option<Arc<Postbox>>,
}

impl Waiter {
    /// Somebody on this thread, and where the answer will come.
    pub(super) fn here() -> (Self, oneshot::Receiver<Answer>) {
        let postbox = own();
        if let Some(postbox) = &postbox {
            postbox.take_out();
        }
        let (reply, answer) = oneshot::channel();
        (Self { reply, postbox }, answer)
    }

    /// Whether nobody waits any more.
    pub(super) fn is_gone(&self) -> bool {
        self.reply.is_closed()
    }
}

/// Answers all that waited for one batch, and wakes each thread once.
pub(super) fn answer(waiting: impl Iterator<Item = (Waiter, Answer)>) {
    let mut told: Vec<Arc<Postbox>> = Vec::new();
    for (Waiter { reply, postbox }, answer) in waiting {
        match postbox {
            Some(postbox) => {
                if postbox.put(reply, answer) {
                    told.push(postbox);
                }
            }
            None => tell(reply, answer),
        }
    }
    for postbox in told {
        postbox.arrived.notify_one();
    }
}

/// Takes answers out for this thread, for as long as it is polled: to be run on each thread that serves
/// requests. Answers are in time without it, too, but then the writer wakes this thread for each.
pub async fn deliver() {
    let postbox = Arc::new(Postbox::default());
    let _closing = Closing(Arc::clone(&postbox));
    OWN.with_borrow_mut(|own| *own = Some(Arc::clone(&postbox)));
    loop {
        postbox.arrived.notified().await;
        postbox.take_out();
    }
}

fn tell(reply: oneshot::Sender<Answer>, answer: Answer) {
    // A waiter that gave up misses its answer; the client will ask again.
    let _ = reply.send(answer);
}

fn own() -> Option<Arc<Postbox>> {
    OWN.with_borrow(Clone::clone)
}

impl Postbox {
    /// Whether the thread is to be told, because this is the first letter.
    fn put(&self, reply: oneshot::Sender<Answer>, answer: Answer) -> bool {
        let mut letters = self.letters.lock();
        if letters.is_closed {
            tell(reply, answer);
            return false;
        }
        letters.waiting.push((reply, answer));
        letters.waiting.len() == 1
    }

    fn take_out(&self) {
        let waiting = std::mem::take(&mut self.letters.lock().waiting);
        for (reply, answer) in waiting {
            tell(reply, answer);
        }
    }
}

/// Closes a postbox however the task that takes out ends, and leaves no letter in it.
struct Closing(Arc<Postbox>);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.letters.lock().is_closed = true;
        self.0.take_out();
        // Not there where the thread itself ends.
        let _ = OWN.try_with(|own| {
            own.borrow_mut().take_if(|own| Arc::ptr_eq(own, &self.0));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::refusal::Refusal;
    use crate::types::id::Seq;
    use crate::types::time::Timestamp;

    fn answered(seq: u64) -> Answer {
        let (outcome, at) = (Err(Refusal::TooLarge), Timestamp::from_micros(seq));
        Answer { outcome, seq: Some(Seq(seq)), at }
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().build().expect("a runtime")
    }

    /// This thread has a postbox for as long as what this answers is there.
    async fn delivering() -> std::pin::Pin<Box<impl Future>> {
        let mut delivering = Box::pin(deliver());
        let polled = std::future::poll_fn(|context| {
            std::task::Poll::Ready(delivering.as_mut().poll(context).is_pending())
        });
        assert!(polled.await);
        delivering
    }

    #[test]
    fn each_who_waits_gets_the_answer_that_is_for_him() {
        runtime().block_on(async {
            let (alone, directly) = Waiter::here();
            assert!(alone.postbox.is_none(), "nobody takes out on this thread yet");
            tokio::task::LocalSet::new()
                .run_until(async {
                    tokio::task::spawn_local(deliver());
                    tokio::task::yield_now().await;
                    let (waiters, answers): (Vec<_>, Vec<_>) =
                        (0..5).map(|_| Waiter::here()).unzip();
                    assert!(waiters.iter().all(|waiter| waiter.postbox.is_some()));
                    let writer = std::thread::spawn(move || {
                        answer([alone].into_iter().chain(waiters).zip((0..).map(answered)));
                    });
                    assert_eq!(directly.await, Ok(answered(0)));
                    for (seq, answer) in (1..).zip(answers) {
                        assert_eq!(answer.await, Ok(answered(seq)));
                    }
                    writer.join().expect("answered");
                })
                .await;
        });
    }

    #[test]
    fn the_next_command_of_a_thread_takes_out_what_lies_there() {
        runtime().block_on(async {
            let _delivering = delivering().await;
            let (waiter, mut first) = Waiter::here();
            answer([(waiter, answered(1))].into_iter());
            assert!(first.try_recv().is_err(), "it lies there");
            let (next, _) = Waiter::here();
            assert_eq!(first.try_recv(), Ok(answered(1)));
            assert!(next.is_gone());
        });
    }

    #[test]
    fn a_postbox_that_nobody_empties_any_more_keeps_nothing() {
        runtime().block_on(async {
            let delivering = delivering().await;
            let ((before, first), (after, second)) = (Waiter::here(), Waiter::here());
            answer([(before, answered(1))].into_iter());
            drop(delivering);
            assert_eq!(first.await, Ok(answered(1)), "what lay there is handed over");
            answer([(after, answered(2))].into_iter());
            assert_eq!(second.await, Ok(answered(2)), "and who comes later is told directly");
            assert!(Waiter::here().0.postbox.is_none());
        });
    }
}
