import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;

/** What the client has had since 4.1 to 4.3: resources with configs listed, transactions terminated by their id. */
class Since43 extends Clients {
    static void run(String feature, Admin admin) throws Exception {
        switch (feature) {
            case "admin": resources(admin); break;
            case "transactions": terminated(admin); break;
            default:
        }
    }

    static void resources(Admin admin) throws Exception {
        String topic = create(admin, "resource", 1);
        Collection<ConfigResource> listed = admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all().get();
        check(listed.contains(new ConfigResource(ConfigResource.Type.TOPIC, topic)), "listed resources: " + listed);
    }

    static void terminated(Admin admin) throws Exception {
        String topic = create(admin, "terminated", 1);
        try (KafkaProducer<String, String> p = producer(Map.of("transactional.id", name("terminated")))) {
            p.initTransactions();
            p.beginTransaction();
            p.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
            admin.forceTerminateTransaction(name("terminated")).result().get();
            try {
                p.commitTransaction();
                throw new AssertionError("the transaction was not terminated");
            } catch (ProducerFencedException | InvalidProducerEpochException e) { /* as it should be */ }
        }
        Transactions.settled(topic, 1);
        same(Map.of(), readAll(topic, 1, "read_committed"), "nothing of it is committed");
    }
}
