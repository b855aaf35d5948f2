//! `gmqtt sub`: subscribes, and prints what comes.

use std::{
    io::{self, BufWriter, Stdout, Write},
    ops::ControlFlow,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{bail, ensure};
use clap::value_parser;
use mqtt_codec::{Publish, QoS, SubscribeReturnCode, TopicFilter};

use crate::{
    client::{self, Client, Event},
    client_arguments::{ClientArguments, qos, topic_filter},
    exit::{self, Ending},
    format::{self, Format},
    quantity, runtime,
    signals::EndRequests,
};

/// Subscribe, and print the messages that come
#[derive(Debug, clap::Args)]
#[command(disable_help_flag = true, after_help = format::HELP)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(crate) struct Options {
    /// A topic filter to subscribe to; may be given several times
    #[arg(short, long, required = true, value_name = "FILTER", value_parser = topic_filter)]
    topic: Vec<TopicFilter>,

    /// The highest QoS to receive with: 0, 1 or 2
    #[arg(short, long, default_value = "0", value_parser = qos)]
    qos: QoS,

    /// End after so many messages
    #[arg(short = 'C', value_name = "COUNT", value_parser = value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End so many seconds after the connection began, with exit code 27
    #[arg(short = 'W', value_name = "SECONDS", value_parser = quantity::seconds)]
    timeout: Option<Duration>,

    /// Print the topic before each message
    #[arg(short, long)]
    verbose: bool,

    /// Print each message like this; see below
    #[arg(short = 'F', value_name = "FORMAT", allow_hyphen_values = true, conflicts_with = "verbose", value_parser = Format::parse)]
    format: Option<Format>,

    /// Print no end of line after each message
    #[arg(short = 'N')]
    no_end_of_line: bool,

    /// Leave out messages whose topic matches this filter; may be given several times
    #[arg(short = 'T', long, value_name = "FILTER", value_parser = topic_filter)]
    filter_out: Vec<TopicFilter>,

    /// Leave out messages that were retained before the subscription
    #[arg(short = 'R')]
    no_retained: bool,

    /// Print retained messages alone, and end at the first other one
    #[arg(long, conflicts_with = "no_retained")]
    retained_only: bool,

    /// Unsubscribe from this filter first, as a stored session may need; may be given several times
    #[arg(short = 'U', long, value_name = "FILTER", value_parser = topic_filter)]
    unsubscribe: Vec<TopicFilter>,

    /// End as soon as the subscriptions stand
    #[arg(short = 'E')]
    end_when_subscribed: bool,

    #[command(flatten)]
    client: ClientArguments,
}

pub(crate) fn run(options: Box<Options>) -> anyhow::Result<()> {
    let client = options.client.client(true)?;
    runtime::for_client()?.block_on(receive(client, &options))
}

async fn receive(mut client: Client, options: &Options) -> anyhow::Result<()> {
    let outcome = Subscriber::new(options).run(&mut client).await;
    // Whatever ended us was not the connection: without a good-bye the broker would publish the Will.
    let _ = client.disconnect().await;
    outcome
}

/// One run: what is still wanted, and where it is printed.
struct Subscriber<'a> {
    options: &'a Options,
    format: Format,
    output: BufWriter<Stdout>,
    left: Option<u64>,
    deadline: Option<Instant>,
    is_subscribed: bool,
}

impl<'a> Subscriber<'a> {
    fn new(options: &'a Options) -> Self {
        let format = match &options.format {
            Some(format) => format.clone(),
            None if options.verbose => Format::verbose(),
            None => Format::payload(),
        };
        let output = BufWriter::with_capacity(64 * 1024, io::stdout());
        Self { options, format, output, left: options.count, deadline: None, is_subscribed: false }
    }

    async fn run(&mut self, client: &mut Client) -> anyhow::Result<()> {
        let mut end_requests = EndRequests::new()?;
        loop {
            let unsent = client.unsent_len();
            match self.print(client) {
                Ok(ControlFlow::Continue(())) => {}
                Ok(ControlFlow::Break(())) => return Ok(()),
                Err(error) => {
                    // What was acknowledged and not printed would be lost.
                    client.take_back(unsent);
                    return Err(error);
                }
            }
            tokio::select! {
                step = client.drive() => step?,
                () = end_requests.next() => return Ok(()),
                () = client::at(self.deadline) => return Err(Ending::TimedOut.into()),
            }
        }
    }

    /// All that came, before its acknowledgements go out.
    fn print(&mut self, client: &mut Client) -> anyhow::Result<ControlFlow<()>> {
        let mut flow = ControlFlow::Continue(());
        while flow.is_continue()
            && let Some(event) = client.poll_event()?
        {
            flow = self.handle(event, client)?;
        }
        exit::output(self.output.flush())?;
        Ok(flow)
    }

    fn handle(&mut self, event: Event, client: &mut Client) -> anyhow::Result<ControlFlow<()>> {
        match event {
            Event::Connected { session_present } => self.handle_connected(session_present, client)?,
            Event::Subscribed(return_codes) => {
                self.is_subscribed = true;
                self.report(&return_codes)?;
                if self.options.end_when_subscribed {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Event::Message(message) => return self.handle_message(&message),
        }
        Ok(ControlFlow::Continue(()))
    }

    fn handle_connected(&mut self, session_present: bool, client: &mut Client) -> anyhow::Result<()> {
        let timeout = self.options.timeout;
        self.deadline =
            self.deadline.or_else(|| timeout.and_then(|timeout| Instant::now().checked_add(timeout)));
        // A session that the broker still has needs no second SUBSCRIBE, which would bring the retained messages again.
        if session_present && self.is_subscribed {
            return Ok(());
        }
        if !self.options.unsubscribe.is_empty() {
            client.unsubscribe(self.options.unsubscribe.clone())?;
        }
        let filters = self.options.topic.iter().map(|filter| (filter.clone(), self.options.qos));
        Ok(client.subscribe(filters.collect())?)
    }

    fn report(&self, return_codes: &[SubscribeReturnCode]) -> anyhow::Result<()> {
        let refused = |code: &SubscribeReturnCode| *code == SubscribeReturnCode::Failure;
        ensure!(
            return_codes.len() == self.options.topic.len(),
            "the broker answered SUBSCRIBE for other filters"
        );
        if return_codes.iter().all(refused) {
            bail!("the broker refused every subscription");
        }
        for (filter, _) in self.options.topic.iter().zip(return_codes).filter(|(_, code)| refused(code)) {
            tracing::warn!("the broker refused the subscription to {filter}");
        }
        Ok(())
    }

    fn handle_message(&mut self, message: &Publish) -> anyhow::Result<ControlFlow<()>> {
        if self.options.retained_only && !message.retain {
            return Ok(ControlFlow::Break(()));
        }
        let is_filtered_out = self.options.filter_out.iter().any(|filter| filter.matches(&message.topic));
        if is_filtered_out || self.options.no_retained && message.retain {
            return Ok(ControlFlow::Continue(()));
        }
        let mut written = self.format.write(&mut self.output, message, SystemTime::now());
        if !self.options.no_end_of_line {
            written = written.and_then(|()| self.output.write_all(b"\n"));
        }
        exit::output(written)?;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(1);
        }
        Ok(if self.left == Some(0) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}
