import java.io.*;
import java.net.*;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.serialization.*;

/**
 * Listeners BOOTSTRAP EXTRA removed|told: adds the listener EXTRA to a node that has no other than PLAINTEXT and maybe CONTROLLER.
 * removed: clients are not told of it, so that it is removed again. told: clients that come in through it are told of it, and it must stay.
 */
class Listeners {
    static Admin admin;
    static ConfigResource broker;

    public static void main(String[] args) throws Exception {
        String extra = args[1];
        admin = Admin.create(Map.of("bootstrap.servers", args[0]));
        broker = new ConfigResource(ConfigResource.Type.BROKER, admin.describeCluster().nodes().get().iterator().next().idString());
        String before = config("listeners"), map = config("listener.security.protocol.map");
        String more = before + ",EXTRA://" + extra;
        refused("without the one between brokers", Map.of("listeners", more.replaceFirst("PLAINTEXT://[^,]*,", "")));
        refused("without a protocol", Map.of("listeners", more, "listener.security.protocol.map", map + ",OTHER:PLAINTEXT"));
        refused("what clients are told", Map.of("advertised.listeners", before));
        refused("of all brokers", new ConfigResource(ConfigResource.Type.BROKER, ""), Map.of("listeners", more));
        String all = map + ",EXTRA:PLAINTEXT" + (before.contains("CONTROLLER") && !map.contains("CONTROLLER") ? ",CONTROLLER:PLAINTEXT" : "");
        set(broker, Map.of("listeners", more, "listener.security.protocol.map", all));
        Socket idle = connected(extra);
        check(served(idle), "the new listener serves");
        check(config("listeners").equals(more), "described");
        if (args[2].equals("told")) {
            idle.close();
            clients(extra);
            refused("one that clients are told of", Map.of("listeners", before));
        } else {
            set(broker, Map.of("listeners", before));
            idle.setSoTimeout(40_000);
            check(idle.getInputStream().read() < 0, "its connections end");
            eventually(() -> { try (Socket s = connect(extra)) { return false; } catch (ConnectException e) { return true; } }, "it is closed");
            set(broker, Map.of("listeners", more)); // and once more
            try (Socket again = connected(extra)) { check(served(again), "it serves again"); }
            set(broker, Map.of("listeners", before));
        }
        check(!admin.describeCluster().nodes().get().isEmpty(), "the others are served");
        admin.close();
        System.out.println("done");
    }

    static void set(ConfigResource of, Map<String, String> configs) throws Exception {
        List<AlterConfigOp> ops = new ArrayList<>();
        configs.forEach((k, v) -> ops.add(new AlterConfigOp(new ConfigEntry(k, v), AlterConfigOp.OpType.SET)));
        admin.incrementalAlterConfigs(Map.of(of, ops)).all().get();
    }

    static void refused(String what, Map<String, String> configs) throws Exception { refused(what, broker, configs); }

    static void refused(String what, ConfigResource of, Map<String, String> configs) throws Exception {
        try { set(of, configs); } catch (ExecutionException e) {
            if (e.getCause() instanceof InvalidRequestException) return;
            throw e;
        }
        throw new AssertionError(what + " was not refused");
    }

    static String config(String name) throws Exception { return admin.describeConfigs(List.of(broker)).all().get().get(broker).get(name).value(); }

    static Socket connect(String address) throws IOException {
        int colon = address.lastIndexOf(':');
        return new Socket(address.substring(0, colon), Integer.parseInt(address.substring(colon + 1)));
    }

    /** A listener opens a moment after the answer. */
    static Socket connected(String address) throws Exception {
        Socket[] s = new Socket[1];
        eventually(() -> { try { s[0] = connect(address); return true; } catch (ConnectException e) { return false; } }, "the listener opens");
        return s[0];
    }

    /** Asks for ApiVersions, version 0. */
    static boolean served(Socket s) throws IOException {
        DataOutputStream out = new DataOutputStream(s.getOutputStream());
        out.writeInt(10); out.writeShort(18); out.writeShort(0); out.writeInt(7); out.writeShort(-1);
        out.flush();
        DataInputStream in = new DataInputStream(s.getInputStream());
        byte[] answer = new byte[in.readInt()];
        in.readFully(answer);
        return answer[3] == 7 && answer[4] == 0 && answer[5] == 0;
    }

    /** Clients that know nothing but the new listener write and read through it. */
    static void clients(String extra) throws Exception {
        try (Admin through = Admin.create(Map.of("bootstrap.servers", extra))) {
            eventually(() -> through.describeCluster().nodes().get().stream().anyMatch(n -> (n.host() + ":" + n.port()).equals(extra)), "clients are told of it");
            through.createTopics(List.of(new NewTopic("through-extra", 1, (short) 1))).all().get();
        }
        try (KafkaProducer<String, String> p = new KafkaProducer<>(Map.of("bootstrap.servers", extra), new StringSerializer(), new StringSerializer())) {
            for (int i = 0; i < 100; i++) check(p.send(new ProducerRecord<>("through-extra", "k", "v" + i)).get().offset() == i, "offset " + i);
        }
        try (KafkaConsumer<String, String> c = new KafkaConsumer<>(Map.of("bootstrap.servers", extra, "group.id", "extra", "auto.offset.reset", "earliest"), new StringDeserializer(), new StringDeserializer())) {
            c.subscribe(List.of("through-extra"));
            int next = 0;
            for (long end = System.nanoTime() + 40_000_000_000L; next < 100 && System.nanoTime() < end; )
                for (ConsumerRecord<String, String> r : c.poll(java.time.Duration.ofMillis(100))) check(r.value().equals("v" + next++), "record " + r.offset() + " is " + r.value());
            check(next == 100, next + " of 100 records");
        }
    }

    static void check(boolean ok, String what) { if (!ok) throw new AssertionError(what); }

    interface Condition { boolean holds() throws Exception; }

    static void eventually(Condition condition, String what) throws Exception {
        for (long end = System.nanoTime() + 40_000_000_000L; System.nanoTime() < end; Thread.sleep(20)) if (condition.holds()) return;
        throw new AssertionError(what + ": not within 40 s");
    }
}
