import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;

/** One instance that consumes, makes upper case of it, and produces, in transactions that carry the group's offsets (KIP-447). */
public class Transform {
    static volatile boolean stopping;

    public static void main(String[] args) throws Exception {
        Thread main = Thread.currentThread();
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            stopping = true;
            try { main.join(20_000); } catch (InterruptedException e) { Thread.currentThread().interrupt(); }
        }));
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(consumerConfig(), new StringDeserializer(), new StringDeserializer());
             KafkaProducer<String, String> producer = new KafkaProducer<>(producerConfig(), new StringSerializer(), new StringSerializer())) {
            producer.initTransactions();
            consumer.subscribe(List.of(env("EOS_INPUT")));
            while (!stopping) {
                ConsumerRecords<String, String> records = consumer.poll(Duration.ofMillis(100));
                if (!records.isEmpty()) transaction(consumer, producer, records);
            }
        } catch (Throwable e) {
            // What ends a producer or a consumer ends the instance; it is started again.
            e.printStackTrace();
            Runtime.getRuntime().halt(3);
        }
    }

    static void transaction(KafkaConsumer<String, String> consumer, KafkaProducer<String, String> producer, ConsumerRecords<String, String> records) {
        try {
            producer.beginTransaction();
            for (ConsumerRecord<String, String> r : records)
                producer.send(new ProducerRecord<>(env("EOS_OUTPUT"), r.key(), r.value().toUpperCase()));
            producer.sendOffsetsToTransaction(records.nextOffsets(), consumer.groupMetadata());
            producer.commitTransaction();
        } catch (ProducerFencedException | InvalidProducerEpochException | OutOfOrderSequenceException | AuthorizationException | TimeoutException e) {
            throw e; // after a TimeoutException it is not known whether the transaction was committed
        } catch (KafkaException e) {
            System.out.println("aborts after " + e);
            producer.abortTransaction();
            rewind(consumer);
        }
    }

    /** Goes back to what the group has committed. */
    static void rewind(KafkaConsumer<String, String> consumer) {
        Map<TopicPartition, OffsetAndMetadata> committed = consumer.committed(consumer.assignment());
        for (TopicPartition tp : consumer.assignment()) {
            OffsetAndMetadata at = committed.get(tp);
            if (at == null) consumer.seekToBeginning(List.of(tp)); else consumer.seek(tp, at);
        }
    }

    static String env(String name) { return System.getenv(name); }

    static Map<String, Object> consumerConfig() {
        return Map.of("bootstrap.servers", env("EOS_BOOTSTRAP"), "group.id", env("EOS_GROUP"), "isolation.level", "read_committed",
            "auto.offset.reset", "earliest", "enable.auto.commit", "false", "max.poll.records", "50",
            "session.timeout.ms", "2000", "heartbeat.interval.ms", "300");
    }

    static Map<String, Object> producerConfig() {
        return Map.of("bootstrap.servers", env("EOS_BOOTSTRAP"), "transactional.id", env("EOS_ID"), "transaction.timeout.ms", "5000",
            "reconnect.backoff.max.ms", "200", "linger.ms", "0");
    }
}
