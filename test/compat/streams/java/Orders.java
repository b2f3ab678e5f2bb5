import java.time.Duration;
import java.util.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.*;

/**
 * Orders (customer -> item:amount) joined with the table of customers and with payments, counted by item and summed by
 * customer and minute. Topics are named after the application; every value is text.
 */
public class Orders {
    static final String APP = System.getenv("STREAMS_APP");
    static final Serde<String> TEXT = Serdes.String();

    public static void main(String[] args) {
        KafkaStreams streams = new KafkaStreams(topology(), config());
        streams.setGlobalStateRestoreListener(new StateRestoreListener() {
            public void onRestoreStart(TopicPartition tp, String store, long from, long to) { }
            public void onBatchRestored(TopicPartition tp, String store, long to, long count) { }
            public void onRestoreEnd(TopicPartition tp, String store, long total) { System.out.println("restored " + store + " " + total); }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> streams.close(Duration.ofSeconds(30))));
        streams.start();
    }

    static String topic(String name) { return APP + "-" + name; }

    static <K, S extends org.apache.kafka.streams.processor.StateStore> Materialized<String, Long, S> counts(String name) {
        return Materialized.<String, Long, S>as(name).withKeySerde(TEXT).withValueSerde(Serdes.Long());
    }

    static Topology topology() {
        StreamsBuilder builder = new StreamsBuilder();
        Consumed<String, String> read = Consumed.with(TEXT, TEXT);
        Produced<String, String> write = Produced.with(TEXT, TEXT);
        KStream<String, String> orders = builder.stream(topic("orders"), read), payments = builder.stream(topic("payments"), read);
        KTable<String, String> customers = builder.table(topic("customers"), read, Materialized.<String, String, KeyValueStore<Bytes, byte[]>>as("customers"));

        orders.leftJoin(customers, (order, customer) -> order + " for " + customer, Joined.with(TEXT, TEXT, TEXT)).to(topic("enriched"), write);

        orders.groupBy((customer, order) -> order.split(":")[0], Grouped.<String, String>as("by-item").withKeySerde(TEXT).withValueSerde(TEXT))
            .count(Orders.<String, KeyValueStore<Bytes, byte[]>>counts("items"))
            .toStream().mapValues(n -> Long.toString(n)).to(topic("counts"), write);

        orders.groupByKey(Grouped.with(TEXT, TEXT)).windowedBy(TimeWindows.ofSizeAndGrace(Duration.ofMinutes(1), Duration.ofDays(1)))
            .aggregate(() -> 0L, (customer, order, sum) -> sum + Long.parseLong(order.split(":")[1]), Orders.<String, WindowStore<Bytes, byte[]>>counts("minutes"))
            .toStream().map((window, sum) -> KeyValue.pair(window.key() + "@" + window.window().start(), Long.toString(sum))).to(topic("sums"), write);

        orders.join(payments, (order, payment) -> order + " paid by " + payment, JoinWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(5), Duration.ofDays(1)),
            StreamJoined.with(TEXT, TEXT, TEXT).withStoreName("paid").withName("paid")).to(topic("paid"), write);
        return builder.build();
    }

    static Properties config() {
        Properties p = new Properties();
        p.put("bootstrap.servers", System.getenv("STREAMS_BOOTSTRAP"));
        p.put("application.id", APP);
        p.put("state.dir", System.getenv("STREAMS_STATE"));
        p.put("processing.guarantee", System.getenv("STREAMS_GUARANTEE"));
        p.put("num.stream.threads", "2");
        p.put("statestore.cache.max.bytes", "0");
        p.put("commit.interval.ms", "100");
        p.put("repartition.purge.interval.ms", "500");
        p.put(StreamsConfig.consumerPrefix("auto.offset.reset"), "earliest");
        p.put(StreamsConfig.consumerPrefix("session.timeout.ms"), "6000");
        p.put(StreamsConfig.consumerPrefix("heartbeat.interval.ms"), "300");
        p.put(StreamsConfig.producerPrefix("transaction.timeout.ms"), "10000");
        return p;
    }
}
