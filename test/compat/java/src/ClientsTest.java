import java.util.*;
import org.apache.kafka.clients.admin.Admin;

/** Apache Kafka's own Java clients against one broker: java ClientsTest BOOTSTRAP VERSION LOCKFILE. It prints a line for each feature. */
public class ClientsTest extends Clients {
    interface Feature { void run(Admin admin) throws Exception; }

    public static void main(String[] args) throws Exception {
        bootstrap = args[0];
        version = args[1];
        lock = args[2];
        Map<String, Feature> features = new LinkedHashMap<>();
        features.put("admin", Administration::run);
        features.put("produce", Records::produce);
        features.put("consume", Records::consume);
        features.put("compression", Records::compression);
        features.put("idempotence", Records::idempotence);
        features.put("groups", Groups::run);
        features.put("transactions", Transactions::run);
        int failed = 0;
        try (Admin admin = Admin.create(Map.of("bootstrap.servers", bootstrap))) {
            for (Map.Entry<String, Feature> f : features.entrySet()) {
                long began = System.nanoTime();
                String result = "pass";
                try {
                    f.getValue().run(admin);
                    Newer.run(f.getKey(), admin);
                } catch (Throwable e) {
                    result = "fail";
                    failed++;
                    e.printStackTrace();
                }
                System.err.printf("%s %s: %s in %.1f s%n", version, f.getKey(), result, (System.nanoTime() - began) / 1e9);
                System.out.println(f.getKey() + "\t" + result);
            }
        }
        System.exit(failed == 0 ? 0 : 1);
    }
}
